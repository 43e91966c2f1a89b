"""Maps of the channels of a layer."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import Result, axes


@dataclass(frozen=True, eq=False)
class ActivationMaps(Result):
    """What a layer found: maps (n, k, h, w) of chosen channels, their indices (n, k), and the layer they come from."""

    values: Tensor = field(metadata=axes("n k h w"))
    channels: Tensor = field(metadata=axes("n k"))
    layer: str
    size: tuple[int, int]
    by: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A line an image: the channels that stand out most, the first one most."""
        h, w = self.values.shape[-2:]
        head = f"{self.layer}, {h} x {w} places, channels by {self.by}:"
        return "\n".join([*(f"{head} {', '.join(map(str, row))}" for row in listed(self.channels)), *self.notes])
