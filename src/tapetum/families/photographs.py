"""A photograph as a network receives it: the steps of preprocessing, and its colour channels as tables of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.methods import inspection
from tapetum.border.sentences import Seed
from tapetum.data.preprocessing import LONGEST, LUMA, Preprocessing, size_of
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import ColorChannels, ImageError, PreprocessingStep, PreprocessingSteps, PreprocessingWay, Range
from tapetum.types.photographs import MAX_SIDE_PX


@inspection(takes="pictures", question="trust")
def preprocessing_steps(
    model: VisionModel,
    images: list[Tensor],
    *,
    side: Annotated[int, Range(1, 4096)] | None = None,
    crop_px: Annotated[int, Range(1, 4096)] = 128,
    seed: Annotated[Seed, Range(0, 2**31 - 1)] = 0,
) -> PreprocessingSteps:
    """Steps from a photograph to a network's numbers, in four ways, step by step, with shape and range at each.

    The steps: as read, (3, H, W) in [0, 1]; resized; cropped; normalised = (pixels - mean) / std per channel, without unit;
    and back again, pixels = normalised · std + mean, which gives the crop. The ways: the model's own; squash (the whole
    photograph made square, so only its proportions are lost); none (its own size); and the random crop of training, from the
    photograph resized to 8/7 of the crop. The frame on the photograph is the part that the model sees.

    Args:
        side: side of the squashed picture in px; None: the model's own size.
        crop_px: side of the random crop in px.

    Example:
        >>> print(tp.preprocessing_steps(model, images))
    """
    own = model.preprocessing
    squash = replace(own, size=own.size if side is None else (side, side), resize="squash")
    train = replace(own, size=(crop_px, crop_px), resize=max(crop_px, round(crop_px * 8 / 7)))
    generator = torch.Generator().manual_seed(seed)
    ways = tuple(
        (
            _fixed("the model's own", own, one),
            _fixed("squash", squash, one),
            _way("none", own, [("as read", one)], (0, 0, *size_of(one))),
            _random(train, one, generator),
        )
        for one in images
    )
    return PreprocessingSteps(ways, model.name, own.mean, own.std)


def _fixed(name: str, how: Preprocessing, picture: Tensor) -> PreprocessingWay:
    """Computes the steps for a photograph that is resized and cropped at the centre, or squashed to the input size."""
    top, left, bottom, right = box = how.box(*size_of(picture))
    if how.resize == "squash":
        return _way(name, how, [("as read", picture), ("resized", how.crop(picture))], box, (bottom - top) / (right - left))
    return _way(name, how, [("as read", picture), ("resized", how.resized(picture)), ("cropped", how.crop(picture))], box)


def _random(how: Preprocessing, picture: Tensor, generator: torch.Generator) -> PreprocessingWay:
    """Computes the steps for a photograph that is resized and cropped at a random place."""
    resized = how.resized(picture)
    size = tuple(resized.shape[-2:])
    rows, columns = how.size
    start = [int(torch.randint(pixels - rows + 1, (), generator=generator)) for pixels in size]
    crop = resized[..., start[0] : start[0] + rows, start[1] : start[1] + columns]
    scale = resized.shape[-2] / min(picture.shape[-2], LONGEST * min(picture.shape[-2:]))  # very long photographs: middle
    before = [(full - pixels / scale) / 2 for full, pixels in zip(picture.shape[-2:], size, strict=True)]
    top, left = (margin + first / scale for margin, first in zip(before, start, strict=True))
    box = (top, left, top + rows / scale, left + columns / scale)
    return _way("random crop", how, [("as read", picture), ("resized", resized), ("cropped", crop)], box)


def _way(
    name: str, how: Preprocessing, steps: list[tuple[str, Tensor]], box: Sequence[float | int], stretched: float | int = 1
) -> PreprocessingWay:
    """Completes the steps of one kind of preprocessing with normalisation and its inverse.

    box         (top, left, bottom, right) of the part of the photograph that the network sees, in px
    stretched   how much wider than high a square of the photograph becomes; 1 keeps the proportions
    """
    normalised = how.normalize(steps[-1][1])
    every = [*steps, ("normalised", normalised), ("back again", how.denormalize(normalised))]
    top, left, bottom, right = map(float, box)
    shown = tuple(_step(name, values[0]) for name, values in every)
    return PreprocessingWay(name, shown, (top, left, bottom, right), float(stretched))


def _step(name: str, values: Tensor) -> PreprocessingStep:
    height, width = size_of(values)
    smaller = MAX_SIDE_PX / max(height, width)
    size = [max(1, round(height * smaller)), max(1, round(width * smaller))]
    kept = values.clone() if smaller >= 1 else F.interpolate(values[None], size, mode="area")[0]
    return PreprocessingStep(name, kept, tuple(values.shape), (float(values.min()), float(values.max())))


@inspection(takes="images", question="trust")
def color_channels(
    model: VisionModel, images: Tensor, *, at: Sequence[int] | None = None, patch_px: Annotated[int, Range(2, 12)] = 6
) -> ColorChannels:
    """Human view and machine view: the photograph, its red, green and blue channel, and a small patch as numbers.

    photographs (n, 3, h, w) in [0, 1] are the images that the model saw, cropped and resized; `images` (n, c, h, w) are the
    same after normalisation. Each channel is a table of h x w brightnesses, drawn in grey from 0 (black) to 1 (white); the
    patch's numbers go from 0 to 255, as in files. A network with one channel sees the luma: red, green and blue are then equal.

    Args:
        at: row and column of the patch's upper left corner, in px of the model's image; None: where brightness varies most.
        patch_px: side of the patch in px.

    Example:
        >>> print(tp.color_channels(model, images, at=(100, 80)))
    """
    if images.shape[1] not in (1, 3):
        raise ImageError(f"color_channels is about red, green and blue: {model.name} sees {images.shape[1]} bands")
    photographs = model.denormalize(images).clone()
    height, width = size_of(images)
    if min(height, width) < patch_px:
        raise ImageError(f"a patch of {patch_px} px does not fit into images of {height} x {width} px: make it smaller")
    if images.shape[1] == 1:
        note(f"{model.name} sees one channel, the luma: red, green and blue are equal")
    places = [_liveliest(one, patch_px) for one in photographs] if at is None else [_inside(at, patch_px, height, width)]
    return ColorChannels(photographs, images.clone(), tuple(places if at is None else places * len(images)), patch_px)


def _inside(at: Sequence[int], patch_px: int, height: int, width: int) -> tuple[int, int]:
    if len(at) != 2 or not (0 <= at[0] <= height - patch_px and 0 <= at[1] <= width - patch_px):
        room = f"row 0 to {height - patch_px}, column 0 to {width - patch_px}"
        raise ImageError(f"color_channels: at={tuple(at)} is no place for a patch of {patch_px} px: give {room}")
    return int(at[0]), int(at[1])


def _liveliest(photograph: Tensor, patch_px: int) -> tuple[int, int]:
    """Returns (row, column) of the upper left corner of the patch whose brightness varies most."""
    luma = (photograph * photograph.new_tensor(LUMA).view(3, 1, 1)).sum(0)[None, None].double()
    variance = F.avg_pool2d(luma.square(), patch_px, 1) - F.avg_pool2d(luma, patch_px, 1).square()
    row, column = divmod(int(variance.argmax()), variance.shape[-1])
    return row, column
