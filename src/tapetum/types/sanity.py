"""How far the maps of methods change when a network's weights, or the class, are others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import Result, axes
from tapetum.types.text import table

Measure: TypeAlias = Literal["rank", "ssim"]
"""Similarity of two maps' magnitudes: Spearman's rank correlation, or SSIM of maps that are scaled to a maximum of 1."""

Order: TypeAlias = Literal["cascading", "independent"]
"""Which layers have random weights: all from the output down to a depth, or those of one stretch alone."""

DEPENDS = "depends on the weights"
UPPER = "hardly depends on the upper layers' weights"
HARDLY = "hardly depends on the weights"
UNSAID = "cannot be said"

HALF = 0.5
"""Share of what a map has in common with itself, beyond what unrelated maps have in common, that has to go or to stay."""

SAME = 0.95
"""Similarity from which two maps are the same for a reader, however alike unrelated maps are."""

ALIKE = 0.8
"""Correlation above which two maps look much the same: with the mean map of other pictures, a map says little about its own."""

STUDENT = (12.71, 4.31, 3.19, 2.78, 2.58, 2.45, 2.37, 2.31, 2.27)
"""97.5 % quantiles of Student's t for 1 to 9 degrees of freedom, rounded up."""


@dataclass(frozen=True, eq=False)
class Sanity(Result):
    """Similarity of each method's maps to themselves when weights are random; n methods, s seeds, p pictures, d depths.

    methods      names of the methods
    layers       the d stretches of layers whose weights were randomised, from the output to the input
    cascading    {measure: (n, s, p, d)} similarity to the trained network's map when all stretches up to this one are random
    independent  {measure: (n, s, p, d)} the same when this stretch alone is random
    other_class  {measure: (n, s, p)} similarity to the trained network's map of another class, drawn at random
    unrelated    {measure: (n,)} mean similarity of the trained network's maps of different pictures; NaN for one picture
    edges        (n, p) rank correlation of the trained network's map with the edges of its picture
    likeness     (n, q) rank correlation of the map of each of q >= p pictures with the mean map of the others
    maps         (n, d + 1, h, w) magnitudes of the first picture's maps: trained, then cascading by the first seed
    photograph   (3, h, w) in [0, 1], the first picture
    targets      the explained target of each of the p pictures, in words
    """

    methods: tuple[str, ...] = field(metadata=axes("n"))
    layers: tuple[str, ...]
    cascading: Mapping[str, Tensor] = field(metadata=axes("n s p d"))
    independent: Mapping[str, Tensor] = field(metadata=axes("n s p d"))
    other_class: Mapping[str, Tensor] = field(metadata=axes("n s p"))
    unrelated: Mapping[str, Tensor] = field(metadata=axes("n"))
    edges: Tensor = field(metadata=axes("n p"))
    likeness: Tensor = field(metadata=axes("n q"))
    maps: Tensor = field(metadata=axes("n _ h w"))
    photograph: Tensor
    targets: tuple[str, ...]
    model: str = ""
    notes: tuple[str, ...] = ()

    @property
    def seeds(self) -> int:
        return self.cascading["rank"].shape[1]

    @property
    def upper(self) -> int:
        """Number of stretches that count as the upper layers: the upper half, rounded down, at least one."""
        return max(1, len(self.layers) // 2)

    @property
    def margin(self) -> float:
        """Number of standard errors to each side of a mean that make its 95 % interval, for this number of seeds.

        The quantile of Student's t: 12.7 for two seeds, 2.3 for ten; beyond ten 1.96 + 2.7 / (seeds - 1), hardly too much.
        """
        free = self.seeds - 1
        return STUDENT[free - 1] if 1 <= free <= len(STUDENT) else 1.96 + 2.7 / max(free, 1)

    def curve(self, order: Order = "cascading", measure: Measure = "rank") -> tuple[Tensor, Tensor]:
        """Returns the mean similarity (n, d) over seeds and pictures, and its standard error over the seeds."""
        return over_seeds((self.cascading if order == "cascading" else self.independent)[measure])

    @property
    def of_other_class(self) -> tuple[Tensor, Tensor]:
        """Mean rank correlation (n,) with the map of another class, and its standard error over the seeds."""
        mean, error = over_seeds(self.other_class["rank"][..., None])
        return mean[:, 0], error[:, 0]

    def kept(self, similarity: Tensor) -> Tensor:
        """Returns the share (n, ...) of a map that is kept: 1 for the same map, 0 for one as unlike as unrelated maps.

        kept = (r - r0) / (1 - r0), r0 the similarity of the method's maps of different pictures (0 for a single picture).
        """
        floor = self.unrelated["rank"].nan_to_num(nan=0.0).view(-1, *[1] * (similarity.ndim - 1))
        return (similarity - floor) / (1 - floor)

    @property
    def verdicts(self) -> tuple[str, ...]:
        """One verdict per method on its dependence on the weights.

        "hardly depends on the weights": more than half of the map is `kept` when all are random. "hardly depends on the upper
        layers' weights": the same when those of the upper half are. "depends on the weights": less than half is kept then.
        Each for all of the 95 % interval over the seeds (`margin`); "cannot be said" otherwise. A similarity above .95 counts
        as kept, one above .8 never as lost, since maps of a method may be alike for all pictures.
        """
        mean, error = self.curve()
        every, upper = self._stays(mean[:, -1], error[:, -1]), self._stays(mean[:, self.upper - 1], error[:, self.upper - 1])
        words = {True: UPPER, False: DEPENDS, None: UNSAID}
        return tuple(HARDLY if all_ else words[some] for all_, some in zip(every, upper, strict=True))

    @property
    def on_class(self) -> tuple[str, ...]:
        """One verdict per method on its dependence on the class, in the same way; "cannot be said" without classes."""
        words = {True: "hardly depends on the class", False: "depends on the class", None: UNSAID}
        return tuple(words[one] for one in self._stays(*self.of_other_class))

    @property
    def on_pictures(self) -> tuple[str, ...]:
        """One verdict per method on its dependence on the picture: the mean of `likeness` above .8 or not."""
        means: list[float] = listed(self.likeness.nanmean(1))
        words = {True: "says little about this picture", False: "differs between pictures"}
        return tuple(UNSAID if isnan(one) else words[one > ALIKE] for one in means)

    def _stays(self, mean: Tensor, error: Tensor) -> list[bool | None]:
        """Returns whether more than half of a map is kept (True), less (False), or neither in the whole interval (None)."""
        low, high = mean - self.margin * error, mean + self.margin * error
        kept = (low >= SAME) | (self.kept(low) > HALF)
        lost = (high < ALIKE) & (self.kept(high) < HALF)
        return [True if a else False if b else None for a, b in zip(listed(kept), listed(lost), strict=True)]

    def __str__(self) -> str:
        what = f"{len(self.targets)} picture{'s' * (len(self.targets) > 1)}, {self.seeds} seed{'s' * (self.seeds > 1)}"
        head = ("method", "upper random", "all random", "other class", "other picture", "mean map", "verdict")
        upper = f"upper: {', '.join(self.layers[: self.upper])}"
        said = "rank correlation of a map's magnitude with that of the trained network, mean and standard error over seeds"
        rows = table(head, [self._row(i) for i in range(len(self.methods))])
        return f"{self.model}: {what}; {upper}\n{said}\n{rows}".lstrip(": ")

    def _row(self, i: int) -> tuple[str, ...]:
        (mean, error), (other, spread) = self.curve(), self.of_other_class
        numbers = (
            with_error(mean[i, self.upper - 1], error[i, self.upper - 1]),
            with_error(mean[i, -1], error[i, -1]),
            with_error(other[i], spread[i]),
            _number(self.unrelated["rank"][i]),
            _number(self.likeness[i].nanmean()),
        )
        more = [one for one in (self.on_class[i], self.on_pictures[i]) if one.startswith(("hardly", "says"))]
        return (self.methods[i], *numbers, "; ".join((self.verdicts[i], *more)))


def over_seeds(values: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean (n, d) over seeds and pictures of values (n, s, p, d), and its standard error over seeds.

    NaN values (of pictures without a map) are left out. The error of one seed is infinite: nothing is known of it.
    """
    each = values.nanmean(2)
    error = torch.full_like(each[:, 0], torch.inf) if each.shape[1] < 2 else each.std(1) / each.shape[1] ** 0.5
    return each.mean(1), error


def with_error(mean: Tensor, error: Tensor) -> str:
    return "-" if bool(mean.isnan()) else f"{float(mean):.2f} ±{float(error):.2f}"


def _number(value: Tensor) -> str:
    return "-" if bool(value.isnan()) else f"{float(value):.2f}"
