"""Verdicts: does a map say more about a prediction than maps that know nothing of the model?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.types.results import PARTS, Result
from tapetum.types.text import table

Outcome: TypeAlias = Literal[
    "stands", "random", "edges", "centre", "no_range", "improbable", "no_positive_evidence", "constant", "non_finite"
]
"""stands      better than random maps, the edges and a blob in the middle
random      no better than random maps
edges       better than random maps, but no better than the edges of the image (centre: than a blob in its middle)
no_range    cannot be tested: hiding the whole image hardly changes the score
improbable  cannot be tested: the target's probability is too small for hiding to lower it
others      the map's own status: there is no map to test"""

Bar: TypeAlias = Literal["edges", "centre"]
"""Maps that a map is compared with beside random ones: the edges of the image, and a blob in its middle."""

SHORT: Mapping[Outcome, str] = {
    "stands": "stands up",
    "random": "no better than random maps",
    "edges": "no better than the image's edges",
    "centre": "no better than a blob in the middle",
    "no_range": "cannot be tested: hiding everything changes little",
    "improbable": "cannot be tested: the target is too improbable",
    "no_positive_evidence": "no positive evidence",
    "constant": "constant map",
    "non_finite": "NaN or infinity in the map",
}
"""{outcome: verdict in a few words}."""

LEAST_RANGE = 0.1
"""Smallest fall of the probability, with everything hidden, at which maps can be told apart."""


@dataclass(frozen=True, eq=False)
class Verdict(Result):
    """Verdict on one map of one image.

    faithfulness  insertion - deletion in log-odds as a share of the range: about 1 for a perfect map (more where places
                  speak against the target), 0 for random maps on average
    p_value       probability that a random map is at least as faithful, corrected for all maps that were tried (Holm)
    null          (k,) faithfulness of random maps and of their reverses
    edges, centre faithfulness of the image's edges, and of a blob in its middle
    margins       {"edges" | "centre": (difference, standard error)} paired over fills and grids; only of maps with p <= level
    first         faithfulness on another grid, by which maps are ordered; the verdict does not use it
    whole, hidden target's probability (or score) in the image, and with everything hidden, {fill: value}
    tried         number of maps that the p-value is corrected for
    """

    method: str
    target: str
    image: int
    outcome: Outcome
    faithfulness: float
    p_value: float
    null: Tensor
    edges: float
    centre: float
    whole: float
    hidden: Mapping[str, float]
    first: float = float("nan")
    margins: Mapping[Bar, tuple[float, float]] = field(default_factory=dict[Bar, tuple[float, float]])
    tried: int = 1
    level: float = 0.05
    measures: Literal["probability", "score"] = "probability"

    @property
    def stands(self) -> bool:
        return self.outcome == "stands"

    @property
    def tested(self) -> bool:
        """Whether the map could be tested at all."""
        return self.outcome in ("stands", "random", "edges", "centre")

    @property
    def range(self) -> float:
        """Smallest fall of the probability (or score), over the fills, when everything is hidden."""
        return self.whole - max(self.hidden.values())

    def beaten(self, value: float) -> int:
        """Number of random maps whose faithfulness is below `value`."""
        return int((self.null < value).sum())

    @property
    def words(self) -> str:
        """Place of the map among random maps, in words."""
        if not self.tested:
            return SHORT[self.outcome]
        k = len(self.null)
        return (
            f"better than {self.beaten(self.faithfulness)} of {k} random maps; the edges: {self.beaten(self.edges)}, a blob in"
            f" the middle: {self.beaten(self.centre)}"
        )

    def __str__(self) -> str:
        said = f" ({self.words}; p = {self.p_value:.2g})" if self.tested else ""
        return f"{self.method} of {self.target!r}: {SHORT[self.outcome]}{said}"


@dataclass(frozen=True, eq=False)
class Verdicts(Result):
    """Verdicts on maps, one per image and map: those of the first image, then those of the second, ...

    `verdicts.of(i, j)` is the verdict on map j of image i.
    """

    each: tuple[Verdict, ...] = field(metadata=PARTS)
    maps: int = 1

    def of(self, image: int, map: int = 0) -> Verdict:
        """Returns the verdict on one map of one image."""
        return self.each[image * self.maps + map]

    @property
    def stands(self) -> Tensor:
        """Whether each map stands up, (images, maps) bool."""
        return torch.tensor([one.stands for one in self.each]).view(-1, self.maps)

    @property
    def p_value(self) -> Tensor:
        """Corrected p-values (images, maps); NaN where a map could not be tested."""
        return torch.tensor([one.p_value for one in self.each], dtype=torch.float64).view(-1, self.maps)

    @property
    def faithfulness(self) -> Tensor:
        """Faithfulness (images, maps), NaN where a map could not be tested."""
        return torch.tensor([one.faithfulness for one in self.each], dtype=torch.float64).view(-1, self.maps)

    @property
    def best(self) -> tuple[Verdict | None, ...]:
        """For each image, of the maps that stand up the one that is first in the order; None where none does."""
        images = [self.each[start : start + self.maps] for start in range(0, len(self.each), self.maps)]
        return tuple(max((one for one in some if one.stands), key=lambda one: one.first, default=None) for some in images)

    def __str__(self) -> str:
        head = ("map", "image", "target", "verdict", "faithfulness", "p", "random maps below it", "edges", "middle")
        return table(head, map(_row, self.each))


def _row(one: Verdict) -> list[str]:
    start = [one.method, str(one.image), one.target, SHORT[one.outcome]]
    if not one.tested:
        return [*start, "", "", "", "", ""]
    places = (f"{one.beaten(value)} of {len(one.null)}" for value in (one.faithfulness, one.edges, one.centre))
    return [*start, f"{one.faithfulness:+.2f}", f"{one.p_value:.2g}", *places]
