"""Results of metrics that measure how faithful a map is to the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from tapetum.types.results import Result, axes
from tapetum.types.text import in_words


@dataclass(frozen=True, eq=False)
class Evaluation(Result):
    """Result of a faithfulness metric for one attribution.

    value      (n,) the area under the curve
    curve      (n, steps + 1) the target's probability after each step, or its score
    fraction   (steps + 1,) the share of pixels changed so far
    better     which direction is good
    measures   "score" where the target has no probability (an output, a unit, a similarity, a callable): in its own units
    """

    metric: str
    value: Tensor = field(metadata=axes("n"))
    curve: Tensor = field(metadata=axes("n s"))
    fraction: Tensor = field(metadata=axes("s"))
    better: Literal["higher", "lower"]
    measures: Literal["probability", "score"] = "probability"

    def __str__(self) -> str:
        return f"{self.metric}, area under the {self.measures} of the target, {self.better} is better: {in_words(self.value)}"
