"""Readings tell what the numbers of a model's answer mean, and give the score, the probability and the evidence of each class.

A reading works along the axis of classes of a table (n, k) or of maps (n, k, h, w). It turns `columns` numbers into `classes`
values: one logit with two class names becomes two classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.types import Outputs, Scale, TargetError

Numbers = Literal["logits", "probabilities", "log_probabilities", "sigmoid", "numbers"]
"""What the numbers of an answer are: the values of `Outputs` without "auto"."""


@dataclass(frozen=True)
class Reading:
    """Meaning of the numbers of an answer.

    numbers    what they are, such as "logits"
    columns    how many numbers the network gives per image or position
    exclusive  True: one class is true, so probabilities sum to 1; False: each label may be true or not
    binary     the network gives one number for two class names: the logit or probability of the second
    why        evidence for this reading, in words; "" if the user set it
    """

    numbers: Numbers
    columns: int
    exclusive: bool = True
    binary: bool = False
    why: str = ""

    @property
    def classes(self) -> int:
        """Number of classes: 2 for one number with two class names, else the number of columns."""
        return 2 if self.binary else self.columns

    @property
    def kind(self) -> Literal["classes", "labels", "binary", "numbers"]:
        """Kind of the answer: "classes" that exclude each other, independent "labels", "binary" (yes or no), or "numbers"."""
        if self.measured:
            return "numbers"
        return "binary" if self.binary or self.columns == 1 else "classes" if self.exclusive else "labels"

    @property
    def measured(self) -> bool:
        """Checks whether the numbers are measurements, which have no probabilities."""
        return self.numbers == "numbers"

    def on(self, scale: Scale, table: Tensor, dim: int = 1) -> Tensor:
        """Returns the scores of all classes along `dim` on a scale; "logit" means the numbers that the network gives."""
        if scale == "logit" or self.measured:
            return self._given(table, dim) if self.binary else table
        return self._probability(table, dim) if scale == "probability" else self.log_probability(table, dim)

    def evidence(self, table: Tensor, dim: int = 1) -> Tensor:
        """Returns values (n, k) whose difference between two classes is the evidence for one against the other, as with logits.

        These are logits where the network gives them; else log(p / (1 - p)) for independent labels, and log p for classes that
        exclude each other.
        """
        if self.numbers in ("logits", "sigmoid") and not self.binary:
            return table
        if self.exclusive or self.measured:
            return self._given(table, dim) if self.measured else self.log_probability(table, dim)
        probability = self._probability(table, dim)
        return _log(probability) - _log(1 - probability)

    def any_of(self, scale: Scale, table: Tensor, classes: list[int]) -> Tensor:
        """Returns the score (n,), on a scale, that at least one of several classes is true."""
        if scale == "logit" and self.numbers != "probabilities":
            source = table if not self.binary else self.log_probability(table)
            return source[:, classes].logsumexp(1)
        if self.exclusive:
            logs = self.log_probability(table)[:, classes].logsumexp(1).clamp(max=0)
            summed = self._probability(table, 1)[:, classes].sum(1)
            return logs if scale == "log_probability" else summed
        below_one = 1 - torch.finfo(table.dtype).eps
        none = torch.log1p(-self._probability(table, 1)[:, classes].clamp(max=below_one)).sum(1)
        return -torch.expm1(none) if scale != "log_probability" else torch.log(-torch.expm1(none))

    def log_probability(self, table: Tensor, dim: int = 1) -> Tensor:
        """Returns the log probability of every class along `dim`."""
        given = self._given(table, dim)
        if self.numbers == "log_probabilities":
            return given
        if self.numbers == "probabilities":
            return _log(given)
        return given.log_softmax(dim) if self.numbers == "logits" and not self.binary else F.logsigmoid(given)

    def _probability(self, table: Tensor, dim: int) -> Tensor:
        given = self._given(table, dim)
        if self.numbers == "probabilities":
            return given
        if self.numbers == "log_probabilities":
            return given.exp()
        return given.softmax(dim) if self.numbers == "logits" and not self.binary else given.sigmoid()

    def _given(self, table: Tensor, dim: int) -> Tensor:
        """Returns the network's numbers, one per class: for one number with two class names it adds the number of the first
        name.
        """
        if not self.binary:
            return table
        if self.numbers == "probabilities":
            return torch.cat([1 - table, table], dim)
        if self.numbers == "log_probabilities":
            return torch.cat([torch.log(-torch.expm1(table)), table], dim)
        return torch.cat([-table, table], dim)

    @property
    def words(self) -> str:
        """Text that describes the reading, for reports and error messages."""
        what = {
            "logits": f"{self.columns} logits of classes that exclude each other (softmax)",
            "probabilities": "probabilities" if self.exclusive else f"{self.columns} probabilities, each for itself",
            "log_probabilities": "logarithms of probabilities",
            "sigmoid": f"{self.columns} logits of labels of which several may be true (a sigmoid each)",
            "numbers": f"{self.columns} numbers, no probabilities" if self.columns > 1 else "a number, no probability",
        }[self.numbers]
        if self.binary:
            what = "one logit (sigmoid)" if self.numbers in ("logits", "sigmoid") else "one probability"
            what += ", of the second of two names"
        elif self.columns == 1 and self.numbers in ("logits", "sigmoid"):
            what = "one logit (sigmoid)"
        return f"{what}: {self.why}" if self.why else what


def read_as(
    outputs: Outputs, table: Tensor, names: int | None, name: str, ends_in_sigmoid: bool | None, dim: int = 1
) -> Reading:
    """Finds the reading of an answer's numbers, and checks it against the user's settings.

    Args:
        outputs: the `outputs` that the user set.
        table: the numbers, classes along `dim`.
        names: number of class names.
        name: name of the model, for error messages.
        ends_in_sigmoid: whether the last operation of the network is a sigmoid; None: unknown.
    """
    columns = int(table.shape[dim])
    binary = columns == 1 and names == 2
    inside = float(table.min()) >= -_tolerance(table) and float(table.max()) <= 1 + _tolerance(table)
    sums = inside and columns > 1 and bool((table.float().sum(dim) - 1).abs().max() <= _tolerance(table))
    if outputs == "auto":
        return _found(table, names, name, inside, sums, ends_in_sigmoid, dim)
    if outputs == "sigmoid" and inside and ends_in_sigmoid:
        why = "the network ends in a sigmoid itself, so none is added"
        return Reading("probabilities", columns, binary, binary, why)
    _check(outputs, table, name, inside, sums, dim)
    exclusive = binary or (outputs != "sigmoid" and not (outputs == "probabilities" and not sums))
    if columns == 1 and outputs == "logits":
        return Reading("sigmoid", columns, binary, binary)
    return Reading(outputs, columns, exclusive and outputs != "numbers", binary and outputs != "numbers")


def _found(
    table: Tensor, names: int | None, name: str, inside: bool, sums: bool, ends_in_sigmoid: bool | None, dim: int
) -> Reading:
    """Finds the reading from the numbers alone, for outputs="auto"; refuses numbers in [0, 1] of unknown origin."""
    columns = int(table.shape[dim])
    binary = columns == 1 and names == 2
    if sums:
        return Reading("probabilities", columns, why="the rows lie in [0, 1] and sum to 1")
    if columns > 1 and _is_log(table, dim):
        return Reading("log_probabilities", columns, why="the exponentials of each row sum to 1")
    if inside and ends_in_sigmoid:
        return Reading("probabilities", columns, binary, binary, "the network ends in a sigmoid")
    if inside and ends_in_sigmoid is None and bool((table > 0).all()):
        raise TargetError(
            f"{name} gives numbers in [0, 1], and nothing shows what they are: say wrap(outputs='probabilities') if they are,"
            " 'sigmoid' or 'logits' if they become some by a sigmoid or softmax, 'numbers' if they are measures"
        )
    if binary:
        return Reading("sigmoid", 1, True, True, "one number with two names")
    if columns == 1 and table.ndim == 4 and names is None:
        raise TargetError(
            f"{name} gives one map and nothing says of what: say wrap(outputs='sigmoid') if it is the logit of a mask, or"
            " 'numbers' if it is a measure such as depth"
        )
    if columns == 1:
        mask = table.ndim == 4
        why = "one map with a name" if mask else "one output; wrap(outputs='sigmoid') if it is a logit"
        return Reading("sigmoid" if mask else "numbers", 1, False, why=why)
    return Reading("logits", columns, why="assumed; wrap(outputs='sigmoid') if several labels may be true")


def _check(outputs: str, table: Tensor, name: str, inside: bool, sums: bool, dim: int) -> None:
    """Refuses numbers that contradict the `outputs` that the user set."""
    low, high = float(table.min()), float(table.max())
    if outputs == "probabilities" and not inside:
        raise TargetError(f"{name} gives values from {low:g} to {high:g}, so they are no probabilities: outputs='logits'?")
    if outputs == "log_probabilities" and high > _tolerance(table):
        raise TargetError(f"{name} gives values up to {high:g}, so they are no logarithms of probabilities: outputs='logits'?")
    if outputs in ("logits", "sigmoid") and sums:
        raise TargetError(
            f"{name} gives rows in [0, 1] that sum to 1: they are probabilities, not logits; say outputs='probabilities'"
        )
    if outputs == "logits" and table.shape[dim] > 1 and _is_log(table, dim):
        raise TargetError(f"{name} gives logarithms of probabilities, not logits; say outputs='log_probabilities'")


def _tolerance(table: Tensor) -> float:
    """Returns how far a sum of a thousand probabilities may be from 1 in the precision of the table."""
    return {torch.bfloat16: 5e-2, torch.float16: 1e-2}.get(table.dtype, 1e-4)


def _is_log(table: Tensor, dim: int) -> bool:
    return float(table.max()) <= _tolerance(table) and bool(table.float().logsumexp(dim).abs().max() <= _tolerance(table))


def _log(probability: Tensor) -> Tensor:
    """Returns the logarithm of probabilities, finite even for a probability of 0."""
    return probability.clamp(min=torch.finfo(probability.dtype).tiny).log()
