"""Maps of single channels as colours."""

from __future__ import annotations

from torch import Tensor

from tapetum.figures.overlay import WORDS, colorize, say
from tapetum.types import ActivationMaps, Reduce


def channel_picture(maps: ActivationMaps, row: int, i: int) -> Tensor:
    """One channel's map as colours (3, h, w) at the layer's own resolution; words if it holds NaN."""
    values = maps.values[row, i].detach().float().cpu()
    if not bool(values.isfinite().all()):
        return say(values.new_zeros(3, 112, 112), WORDS["non_finite"])
    return colorize(values, channel_kind(maps))


def channel_kind(maps: ActivationMaps) -> Reduce:
    """One colour scheme for a layer: diverging as soon as any of its shown values is negative."""
    return "sum" if bool((maps.values < 0).any()) else "positive"
