"""Places of images in their photographs, and maps transferred back onto the photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.types.refusals import TapetumError
from tapetum.types.results import saved


@saved
@dataclass(frozen=True)
class Crop:
    """Edges of the part of a photograph that the model saw, and `size` (height, width) of the photograph, in its pixels."""

    size: tuple[int, int]
    top: int | float
    left: int | float
    bottom: int | float
    right: int | float


def on_photo(maps: Tensor, crops: Sequence[Crop]) -> Tensor:
    """Resamples maps (n, 1, h, w) of crops to (n, H, W), the pixels of their photographs; NaN outside the crops.

    Each pixel gets the map's value at the pixel's centre, interpolated bilinearly.
    """
    if len(crops) != len(maps):
        raise TapetumError(
            "where these images lie in their photographs is not known: give the method photographs (files, pictures, or what"
            " model.preprocess made of them), or say it, on=[tp.Crop(size, top, left, bottom, right)]"
        )
    if len({crop.size for crop in crops}) > 1:
        raise TapetumError("the photographs differ in size: take one image at a time, result[0].heatmap(on='photo')")
    return torch.stack([_laid(one, crop) for one, crop in zip(maps, crops, strict=True)])


def _laid(flat: Tensor, crop: Crop) -> Tensor:
    """Resamples one crop's map (1, h, w) to the pixels (H, W) of its photograph."""
    (height, width), kind = crop.size, flat.dtype if flat.dtype.itemsize >= 4 else torch.float32
    rows, columns = (torch.arange(side, dtype=torch.float64, device=flat.device) + 0.5 for side in (height, width))
    down = (rows - crop.top) / (crop.bottom - crop.top)
    along = (columns - crop.left) / (crop.right - crop.left)
    places = torch.empty(1, height, width, 2, dtype=kind, device=flat.device)  # filled in place: large photographs
    places[..., 0], places[..., 1] = 2 * along - 1, (2 * down - 1)[:, None]
    laid = F.grid_sample(flat[None].to(kind), places, mode="bilinear", padding_mode="border", align_corners=False)[0, 0]
    outside = ((down < 0) | (down > 1))[:, None] | (along < 0) | (along > 1)
    return laid.masked_fill_(outside, float("nan"))
