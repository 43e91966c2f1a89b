"""Parts that the dream methods share: start pictures of a suitable size, the default layer, and the record of each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.data.preprocessing import Size, size_of
from tapetum.engines.render.parametrizations.images import covering
from tapetum.engines.render.sizes import as_size, takes
from tapetum.engines.scores.inside import one_layer
from tapetum.models.depths import depths
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import ImageError, Made, Rendering
from tapetum.types.text import as_text

DEPTHS = 5
"""Number of depths of a network among which default layers are chosen."""


def begun_with(model: VisionModel, pictures: Sequence[Tensor], size: Any, longest_px: int, *, whole: bool = True) -> Tensor:
    """Returns start pictures (n, 3, h, w) in [0, 1]: at `size`, or at their own size, shrunk to a longer side of longest_px.

    If the network does not take that size, the middle of the picture at the network's size is used, with a note. Pictures
    are enlarged only to reach `size`; pictures of different sizes are refused without `size`. `whole` means that the network
    is given the whole picture, not views of it at the network's own size.
    """
    wanted = _shrunk(pictures, longest_px) if size is None else as_size(model, size)
    if whole and not takes(model, wanted):
        own = model.preprocessing.size
        note(f"{model.name} takes no images of {as_text(wanted)} px: the middle of the picture at {as_text(own)} px was used")
        wanted = own
    return torch.cat([covering(picture, wanted).contiguous() for picture in pictures])


def _shrunk(pictures: Sequence[Tensor], longest_px: int) -> Size:
    """Returns the common (h, w) of the pictures, shrunk to a longer side of at most longest_px; refuses different sizes."""
    sizes = sorted({size_of(one) for one in pictures})
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
    """Resizes pictures (n, c, h, w): bilinear, with antialiasing when they get smaller."""
    if tuple(pictures.shape[-2:]) == tuple(size):
        return pictures
    return F.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)


def named_or_usual(model: VisionModel, layer: str | None, place: int, words: str) -> str:
    """Returns the named layer; for None, the one at `place` (0: the earliest) of five depths, and adds a note with `words`."""
    if layer is not None:
        return one_layer(model, layer)
    usual = depths(model, DEPTHS)
    chosen = usual[round(place / (DEPTHS - 1) * (len(usual) - 1))]
    note(words.format(chosen))
    return chosen


@dataclass
class PictureRun:
    """The record of optimising one picture.

    values    the objective at each step
    frames    the pictures at the requested steps
    answered  whether any gradient has reached the picture
    broken    number of steps whose gradient was not finite
    """

    pixels: Tensor
    values: list[Tensor] = field(default_factory=list[Tensor])
    frames: list[Tensor] = field(default_factory=list[Tensor])
    answered: bool = False
    broken: int = 0

    @property
    def status(self) -> Made:
        return "non_finite" if self.broken > len(self.values) // 2 else "ok" if self.answered else "silent"


def as_rendering(
    runs: Sequence[PictureRun], objectives: Sequence[object], kept: Sequence[int], scores: Tensor, before: Tensor
) -> Rendering:
    """Joins the runs into one rendering; `scores` (n,) are of the finished pictures, `before` (n,) of the photographs."""
    values = torch.stack([torch.cat(run.values) for run in runs], 1)
    return Rendering(
        pixels=torch.cat([run.pixels for run in runs]),
        scores=scores,
        objectives=tuple(str(one) for one in objectives),
        status=tuple(run.status if sound else "non_finite" for run, sound in zip(runs, scores.isfinite(), strict=True)),
        steps=tuple(range(1, len(values) + 1)),
        values=values,
        frames=torch.stack([torch.cat(some) for some in zip(*(run.frames for run in runs), strict=True)]) if kept else None,
        frame_steps=tuple(kept),
        numbers={"before": before},
    )
