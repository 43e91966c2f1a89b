"""How faithful a map is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A faithfulness metric of one attribution.

    value      (n,) the area under the curve
    curve      (n, steps + 1) the target's probability after each step, or its score
    fraction   (steps + 1,) the share of pixels changed so far
    better     which direction is good
    measures   "score" where the target has no probability (an output, a unit, a similarity, a callable): in its own units
    """

    metric: str
    value: Tensor
    curve: Tensor
    fraction: Tensor
    better: Literal["higher", "lower"]
    measures: Literal["probability", "score"] = "probability"
