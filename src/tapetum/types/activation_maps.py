"""Activation maps of chosen channels of a layer."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import Result, axes


@dataclass(frozen=True, eq=False)
class ActivationMaps(Result):
    """Maps (n, k, h, w) of chosen channels of a layer, and the channels' indices (n, k)."""

    values: Tensor = field(metadata=axes("n k h w"))
    channels: Tensor = field(metadata=axes("n k"))
    layer: str
    size: tuple[int, int]
    by: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Lists, one line per image, the channels that stand out most, in descending order."""
        h, w = self.values.shape[-2:]
        head = f"{self.layer}, {h} x {w} places, channels by {self.by}:"
        return "\n".join([*(f"{head} {', '.join(map(str, row))}" for row in listed(self.channels)), *self.notes])
