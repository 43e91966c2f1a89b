"""Chooses the size of rendered pictures, and checks that the network takes it."""

from __future__ import annotations

from typing import Any

import torch

from tapetum.data.preprocessing import as_pair
from tapetum.models.vision_model import VisionModel
from tapetum.types import MethodError
from tapetum.types.text import as_text

SMALLEST_PX = 8


def as_size(model: VisionModel, size: Any) -> tuple[int, int]:
    """Returns (h, w) in px for a side in px, a pair, or a text such as "96x160"; refuses a size that the network does not take.

    None means 128 px, or the network's own size if it takes no other. The network is tried once per size, with a blank picture;
    a transformer with learned positions takes its own size only.
    """
    if size is None:
        return small_size(model, 128)  # as in olah2017feature; a quarter of the work for 256 px
    wanted = as_pair(size)
    if min(wanted) < SMALLEST_PX:
        raise MethodError(f"a picture has at least {SMALLEST_PX} px a side, not {as_text(wanted)}")
    if not takes(model, wanted):
        own = as_text(model.preprocessing.size)
        raise MethodError(f"{model.name} takes no images of {as_text(wanted)} px; its own size is {own}")
    return wanted


def small_size(model: VisionModel, px: int) -> tuple[int, int]:
    """Returns a square size (h, w) of at most px per side if the network takes it, else the network's own size."""
    own = model.preprocessing.size
    side = min(px, *own)
    square = side, side
    return square if own[0] == own[1] and takes(model, square) else own


def takes(model: VisionModel, size: tuple[int, int]) -> bool:
    """Checks whether the network runs on images of a size (h, w); the answer is cached."""
    return model.remember(f"takes {size[0]} x {size[1]}", lambda: _takes(model, size))


def _takes(model: VisionModel, size: tuple[int, int]) -> bool:
    try:
        with torch.no_grad():
            model(model.blank(size=size))
    except (RuntimeError, AssertionError, ValueError):
        return False
    return True
