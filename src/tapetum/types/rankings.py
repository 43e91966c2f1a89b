"""Methods ranked on one's own pictures: what each metric says of them, what cannot be told apart, and their track records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.evaluations import Better
from tapetum.types.refusals import MethodError
from tapetum.types.results import WHOLE, Result, axes
from tapetum.types.text import table

BINS = 5
"""Number of bins of predicted drops, each a fifth of [0, 1]."""

FEWEST = 5
"""Least number of pictures with a prediction in a bin that is shown."""

NEAR = 0.1
"""Largest difference between the predicted and the measured drop of a prediction that came true."""


@dataclass(frozen=True, eq=False)
class MethodRanking(Result):
    """n methods by k metrics over p pictures, with intervals of 95 % by resampling pictures.

    values       (n, k, p) each method's number on each picture, NaN where it has none
    mean         (n, k) over the pictures on which every method has a number, and its `interval` (n, k, 2)
    ranks        (n, k) mean rank over the same pictures: 1 is the best
    counted      (k,) number of these pictures
    critical     (k,) mean ranks that differ by less cannot be told apart (Nemenyi, 5 % for all pairs together)
    p_values     (k,) of no difference between methods (Friedman)
    better       which direction of each metric is good
    predicted    (n, p, 3) drop of the probability that the map predicts when its highest 1, 2 and 4 fourteenths are hidden
    measured     (n, p, 3) the drop that came
    true         (n,) share of predictions that came true, to within .1, and its interval `true_interval` (n, 2); a map that
                 promises little is easily right, so that only what goes beyond random maps is a merit
    calibration  (n, 5, 4) for predicted drops of 0 to .2, .2 to .4, ...: mean predicted, mean measured, and its interval;
                 NaN where fewer than five pictures have such a prediction
    pictures     (p,) names; skipped: {name: why a picture was left out}
    seconds      {kind of work: seconds}
    """

    methods: tuple[str, ...] = field(metadata=axes("n"))
    metrics: tuple[str, ...]
    better: tuple[Better, ...]
    values: Tensor = field(metadata=axes("n k p"))
    mean: Tensor = field(metadata=axes("n k"))
    interval: Tensor = field(metadata=axes("n k _"))
    ranks: Tensor = field(metadata=axes("n k"))
    counted: tuple[int, ...]
    critical: tuple[float, ...]
    p_values: tuple[float, ...]
    predicted: Tensor = field(metadata=axes("n p _"))
    measured: Tensor = field(metadata=axes("n p _"))
    true: Tensor = field(metadata=axes("n"))
    true_interval: Tensor = field(metadata=axes("n _"))
    calibration: Tensor = field(metadata=axes("n _ _"))
    pictures: tuple[str, ...]
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    model: str = ""
    data: str = ""
    notes: tuple[str, ...] = field(default=(), metadata=WHOLE)

    def order(self, metric: str) -> list[int]:
        """Returns the rows from the best mean rank to the worst."""
        return listed(self.ranks[:, self._column(metric)].argsort(stable=True))

    def tied(self, metric: str, method: str) -> tuple[str, ...]:
        """Names the other methods that a metric cannot tell from this one: all of them, if Friedman's test says nothing."""
        column, row = self._column(metric), self._row(method)
        apart = (self.ranks[:, column] - self.ranks[row, column]).abs() >= self.critical[column]
        return tuple(
            name for i, name in enumerate(self.methods) if i != row and (self.p_values[column] >= 0.05 or not bool(apart[i]))
        )

    def said(self, metric: str) -> str:
        """Says in a sentence what a metric tells apart, and what it does not."""
        column, order = self._column(metric), self.order(metric)
        if len(self.methods) < 2:
            return f"{metric}: one method has no other to be compared with"
        n = self.counted[column]
        if n == 0:
            return f"{metric}: on no picture has every method a number; leave out those that the notes name"
        if self.p_values[column] >= 0.05:
            return f"{metric}: {n} pictures tell no method from another (p = {self.p_values[column]:.2g}); take more"
        best = self.methods[order[0]]
        tied, worst = self.tied(metric, best), [self.methods[i] for i in order]
        below = [name for name in worst if name != best and name not in tied]
        first = f"{best} cannot be told from {', '.join(tied)}" if tied else f"{best} is ahead of all others"
        return f"{metric}: {first}" + (f"; worse than {best}: {', '.join(below)}" if below and tied else "")

    def __str__(self) -> str:
        lost = f", {len(self.skipped)} skipped" if self.skipped else ""
        lines = [f"{len(self.methods)} methods on {len(self.pictures)} pictures of {self.data} by {self.model}{lost}"]
        for column, metric in enumerate(self.metrics):
            head = ["method", "mean", "95 %", "mean rank"]
            least = f"mean ranks that differ by less than {self.critical[column]:.2f} cannot be told apart"
            title = f"{metric} on {self.counted[column]} pictures, {self.better[column]} is better; {least}"
            lines += ["", title, table(head, [self._line(i, column) for i in self.order(metric)]), self.said(metric)]
        lines += [
            "",
            "share of predictions that came true to within .1: hide a map's highest places, and the probability falls",
        ]
        order: list[int] = listed(self.true.nan_to_num(nan=-1).argsort(descending=True, stable=True))
        rows = [[self.methods[i], f"{float(self.true[i]):.2f}", _span(self.true_interval[i], ".2f")] for i in order]
        last = "a map that promises little is easily right: what random maps reach is no merit"
        return "\n".join([*lines, table(["method", "true", "95 %"], rows), last])

    def _line(self, i: int, column: int) -> list[str]:
        span = _span(self.interval[i, column], "+.3f")
        return [self.methods[i], f"{float(self.mean[i, column]):+.3f}", span, f"{float(self.ranks[i, column]):.2f}"]

    def _column(self, metric: str) -> int:
        if metric not in self.metrics:
            raise MethodError(f"not ranked by '{metric}'; there are {', '.join(self.metrics)}")
        return self.metrics.index(metric)

    def _row(self, method: str) -> int:
        if method not in self.methods:
            raise MethodError(f"'{method}' was not ranked; there are {', '.join(self.methods)}")
        return self.methods.index(method)


def _span(pair: Tensor, form: str) -> str:
    low, high = listed(pair)
    return f"{low:{form}} to {high:{form}}"
