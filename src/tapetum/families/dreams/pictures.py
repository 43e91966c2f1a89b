"""Photographs as renderings begin with them: of one size, which the network takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.data.preprocessing import Size, as_text
from tapetum.engines.render.parametrizations.images import covering
from tapetum.engines.render.sizes import as_size, takes
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import ImageError, LayerError


def begun_with(model: VisionModel, pictures: Sequence[Tensor], size: Any, longest_px: int, *, whole: bool = True) -> Tensor:
    """Pictures (n, 3, h, w) in [0, 1] to begin with: at `size`, or at their own size up to a longer side of longest_px.

    A network that takes no such size gets its own: the middle part of the picture, which is noted. Never enlarged, unless
    `size` asks for it. Pictures of several sizes are refused without `size`. `whole`: the network sees pictures as they are,
    not views at its own size.
    """
    wanted = _shrunk(pictures, longest_px) if size is None else as_size(model, size)
    if whole and not takes(model, wanted):
        own = model.preprocessing.size
        note(f"{model.name} takes no images of {as_text(wanted)} px: the middle of the picture at {as_text(own)} px was used")
        wanted = own
    return torch.cat([covering(picture, wanted).contiguous() for picture in pictures])


def _shrunk(pictures: Sequence[Tensor], longest_px: int) -> Size:
    """The common size of the pictures, its longer side at most longest_px."""
    sizes = sorted({(int(one.shape[-2]), int(one.shape[-1])) for one in pictures})
    if len(sizes) > 1:
        raise ImageError(
            f"these pictures have {len(sizes)} sizes ({as_text(sizes[0])}, {as_text(sizes[-1])} px): give size=(height, width) "
            "for all, or make them one by one"
        )
    (height, width) = sizes[0]
    share = min(1.0, longest_px / max(height, width))
    made = max(1, round(share * height)), max(1, round(share * width))
    if share < 1:
        note(f"made at {as_text(made)} px, from {as_text((height, width))}: longest_px={longest_px} is the limit")
    return made


def resized(pictures: Tensor, size: Size) -> Tensor:
    """(n, c, h, w) at another size, bilinear, each pixel of a smaller one the mean of those that it stands for."""
    if tuple(pictures.shape[-2:]) == tuple(size):
        return pictures
    return F.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)


def one_layer(model: VisionModel, layer: str) -> str:
    """The full name of the one layer that a text means."""
    found = model.find_layers(layer)
    if len(found) != 1:
        raise LayerError(f"'{layer}' means {len(found)} layers of {model.name} ({', '.join(found[:3])}, ...): give one")
    return found[0]
