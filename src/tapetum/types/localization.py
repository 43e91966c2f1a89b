"""Agreement of maps with masks of objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isnan
from typing import Literal, TypeAlias

from torch import Tensor

from tapetum.types.results import Result, axes

Inside: TypeAlias = Literal["ok", "empty_mask", "full_mask", "no_positive_evidence", "constant", "non_finite"]
"""Outcome per image: ok, or why its number is NaN (empty mask, no positive value, a constant map, NaN in the map)."""

UNDEFINED: dict[Inside, str] = {
    "empty_mask": "empty mask",
    "full_mask": "a mask of the whole picture",
    "no_positive_evidence": "no positive evidence",
    "constant": "constant map",
    "non_finite": "NaN in the map",
}


@dataclass(frozen=True, eq=False)
class Localization(Result):
    """Share of each map inside its mask.

    value    (n,) in [0, 1], NaN where the status is not `ok`
    area     (n,) in [0, 1]: the share of pixels in the mask, the value that a random map reaches on average
    maps     (n, h, w) the relevance that was counted, at the masks' size
    masks    (n, h, w) True inside
    method   of the maps; `target` one text per image
    """

    metric: str
    value: Tensor = field(metadata=axes("n"))
    area: Tensor = field(metadata=axes("n"))
    status: tuple[Inside, ...] = field(metadata=axes("n"))
    maps: Tensor = field(metadata=axes("n h w"))
    masks: Tensor = field(metadata=axes("n h w"))
    method: str
    target: tuple[str, ...] = field(metadata=axes("n"))
    notes: tuple[str, ...] = ()

    @property
    def defined(self) -> int:
        """Number of images that have a value."""
        return self.status.count("ok")

    @property
    def mean(self) -> float:
        """Mean over the images that have a value; NaN if none has."""
        return float(self.value.double().nanmean())

    @property
    def words(self) -> str:
        """Describes the values in words: "0.83 on average of 16 images; without a number: 2 empty mask"."""
        counts = {word: self.status.count(status) for status, word in UNDEFINED.items() if status in self.status}
        lost = ", ".join(f"{number} {word}" for word, number in counts.items())
        number = "undefined" if isnan(self.mean) else f"{self.mean:.2f}"
        of = f" on average of {self.defined} images" if self.defined > 1 else ""
        return number + of + (f"; without a number: {lost}" if lost else "")

    def __str__(self) -> str:
        """Returns the mean value and the mean area of the masks in words."""
        name = self.metric.replace("_", " ")
        return f"{name} of {self.method}: {self.words}; the masks cover {float(self.area.mean()):.2f}"
