"""Attacked pictures as files: the photograph around the attacked cut, so that the model's preprocessing finds it as it is."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tapetum.data.planes import viewable
from tapetum.data.preprocessing import size_of
from tapetum.models.vision_model import VisionModel
from tapetum.types import ImageError


def picture_for_file(model: VisionModel, photograph: Any, pixels: Tensor) -> Tensor:
    """Returns a picture (3, H, W) in [0, 1] that `model.preprocess` cuts to the attacked pixels (c, h, w), but for rounding.

    Where the model resizes pictures before the cut, the cut alone would be resized again, which undoes an attack: it is put
    back into the resized photograph, whose shorter side stays as it is.
    """
    how = model.preprocessing
    if pixels.shape[0] not in (1, 3):
        raise ImageError(f"{model.name} takes {pixels.shape[0]} channels, which no PNG file holds: save the result (tp.save)")
    color = viewable(pixels[None])
    if isinstance(how.resize, str) or how.resize == min(how.size):
        return color[0]
    whole = how.resized(how.read(photograph)).to(color)
    whole = viewable(whole.mean(1, keepdim=True) if pixels.shape[0] == 1 else whole).clone()
    top, left = (round((side - size) / 2) for side, size in zip(size_of(whole), how.size, strict=True))
    whole[..., top : top + how.size[0], left : left + how.size[1]] = color
    return whole[0]
