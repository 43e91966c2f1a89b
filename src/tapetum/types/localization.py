"""Agreement of maps with masks of objects."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from tapetum.types.outcomes import Outcome, mean_in_words
from tapetum.types.results import Result, axes


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
    status: tuple[Outcome, ...] = field(metadata=axes("n"))
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
        return mean_in_words(self.value, self.status, ".2f")

    def __str__(self) -> str:
        """Returns the mean value and the mean area of the masks in words."""
        name = self.metric.replace("_", " ")
        return f"{name} of {self.method}: {self.words}; the masks cover {float(self.area.mean()):.2f}"
