"""Results of metrics of maps: one number per image, with the curve or the pairs of numbers that it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import Tensor

from tapetum.types.outcomes import Outcome, mean_in_words
from tapetum.types.results import Result, axes

Better: TypeAlias = Literal["higher", "lower"]


@dataclass(frozen=True, eq=False)
class Evaluation(Result):
    """Result of a metric for one attribution.

    value      (n,) one number per image; NaN where `status` is not ok
    curve      (n, steps + 1) the target's probability after each step, or its score; (n, 0) for a metric without a curve
    fraction   (steps + 1,) the share of pixels changed so far; (0,) for a metric without a curve
    better     which direction is good
    measures   "score" where the target has no probability (an output, a unit, a similarity, a callable): in its own units
    status     one per image: ok, or why there is no number; () in a result of a metric that does not say
    limits     lowest and highest possible value, None where there is none
    parts      {name: (n, m)} numbers that the value is computed from, such as "attributed" and "drop" of each part hidden
    """

    metric: str
    value: Tensor = field(metadata=axes("n"))
    curve: Tensor = field(metadata=axes("n s"))
    fraction: Tensor = field(metadata=axes("s"))
    better: Better
    measures: Literal["probability", "score"] = "probability"
    status: tuple[Outcome, ...] = field(default=(), metadata=axes("n"))
    limits: tuple[float | None, float | None] = (None, None)
    parts: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor], metadata=axes("n m"))

    @property
    def mean(self) -> float:
        """Mean over the images that have a value; NaN if none has."""
        return float(self.value.double().nanmean())

    @property
    def words(self) -> str:
        """Describes the values in words: "0.83 on average of 16 images; without a number: 2 constant map"."""
        return mean_in_words(self.value, self.status)

    def __str__(self) -> str:
        name = self.metric.replace("_", " ")
        curve = f", from the {self.measures} of the target as pixels change" if self.curve.numel() else ""
        return f"{name}{curve}, {self.better} is better: {self.words}"
