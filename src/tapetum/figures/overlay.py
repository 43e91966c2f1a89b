"""Converts heatmaps to colours, alone or laid over the pixels that they belong to. Nothing here needs matplotlib."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.data.preprocessing import LUMA
from tapetum.figures.theme import LIGHT, anchors, as_pixel
from tapetum.figures.words import WORDS, grid
from tapetum.types import ActivationMaps, Attribution, Reduce, TapetumError

ROBUST_QUANTILE = 0.995
"""The colour scale ends at this quantile of the magnitudes: a few extreme pixels must not darken all the others."""

ROWS = 512
"""Rows of a photograph that are processed at once; a multiple of a processor's vector length, so results are the same."""

COVER: dict[Reduce, float] = {"sum": 0.5, "positive": 1.0, "max_abs": 0.65}
"""Exponent of the opacity: maps of single pixels are sparse and need more colour than smooth ones."""

SCALE = "full colour at the 99.5th percentile"


def limit(values: Tensor) -> float:
    """Magnitude that gets the full colour: the 99.5th percentile of |values|, or the maximum where that percentile is zero."""
    seen = values.detach().abs().float().cpu().flatten()
    sizes = seen[~seen.isnan()].numpy()
    robust = float(np.quantile(sizes, ROBUST_QUANTILE))
    return robust or float(sizes.max()) or 1.0


def colorize(values: Tensor, kind: Reduce, top: float | None = None) -> Tensor:
    """Converts a map (h, w) to colours (3, h, w) in [0, 1].

    Maps of the kind `sum` are signed: -top is blue, 0 exactly the neutral colour, +top red. Others run from 0 to top.

    Args: `top` the magnitude with the full colour (default: `limit(values)`).
    """
    strength = _strength(values, kind, top)
    colors = _ramp((strength + 1) / 2 if kind == "sum" else strength, anchors(kind))
    return torch.where(values.detach().isnan().cpu(), as_pixel(LIGHT.line), colors)


def signs(values: Tensor) -> Reduce:
    """Returns the kind of colour scale for values: diverging ("sum") if any value is negative, else "positive"."""
    return "sum" if bool((values < 0).any()) else "positive"


def channel_picture(maps: ActivationMaps, row: int, i: int) -> Tensor:
    """Returns one channel's map as colours (3, h, w) at the layer's own resolution; words if it holds NaN."""
    values = maps.values[row, i].detach().float().cpu()
    if not bool(values.isfinite().all()):
        return with_words(values.new_zeros(3, 112, 112), WORDS["non_finite"])
    return colorize(values, signs(maps.values))


def overlay(pixels: Tensor, heatmap: Tensor, kind: Reduce, *, top: float | None = None, opacity: float = 0.85) -> Tensor:
    """Returns the map laid over its photo, (3, h, w) in [0, 1].

    Where the map is NaN, the model did not see the photo, which is pale there. Elsewhere the colour covers the photo in
    proportion to (|value| / top)^COVER, so where the map is low the grey photo shows.

    Args: `pixels` (3, h, w) in [0, 1]; `heatmap` (h, w) of the same size; `opacity` in [0, 1] of the full colour.
    """
    if heatmap.shape != pixels.shape[-2:]:
        fits = f"use heatmap(size={tuple(pixels.shape[-2:])})"
        raise TapetumError(f"a map of {grid(heatmap.shape)} does not lie over pixels of {grid(pixels.shape)}; {fits}")
    top = top or limit(heatmap.detach().float().cpu().nan_to_num(0))
    over = torch.empty(3, *heatmap.shape)
    for first in range(0, len(heatmap), ROWS):
        rows = slice(first, first + ROWS)
        over[:, rows] = _overlaid(pixels[:, rows], heatmap[rows], kind, top, opacity)
    return over


def _overlaid(pixels: Tensor, heatmap: Tensor, kind: Reduce, top: float, opacity: float) -> Tensor:
    ground = 0.65 * _grey(pixels) + (0.3 if kind == "sum" else 0)  # nearer to the colour that means zero
    cover = opacity * _strength(heatmap, kind, top).abs().pow(COVER[kind])
    over = torch.lerp(ground, colorize(heatmap, kind, top), cover)
    return torch.where(heatmap.detach().isnan().cpu(), 0.35 * _grey(pixels) + 0.6, over)


def over_photo(photo: Tensor, values: Tensor, kind: Reduce, top: float | None = None) -> Tensor:
    """Returns a layer's map (h, w), upsampled bilinearly, over a photo (3, H, W)."""
    heatmap = F.interpolate(values.detach()[None, None].float(), photo.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    return overlay(photo.float(), heatmap.to(photo.device), kind, top=top)


def picture(attribution: Attribution, pixels: Tensor, row: int = 0, on: Literal["crop", "photo"] = "crop") -> Tensor:
    """Returns a picture (3, h, w) of one image's map: the overlay, or the dimmed photo with the reason why there is no map.

    pixels: what the model saw, or with on="photo" the whole photograph.
    """
    status = attribution.status[row]
    if status != "ok":
        return with_words(pixels, WORDS[status])
    return overlay(pixels, attribution[row].heatmap(on=on)[0], attribution.reduce)


def laid(attribution: Attribution, pixels: Tensor, row: int) -> Tensor:
    """Returns one image's map (h, w) at the size of `pixels`, which are the crop or the whole photograph."""
    one, size = attribution[row], tuple(pixels.shape[-2:])
    whole = size != one.size and [crop.size for crop in one.photos] == [size]
    return one.heatmap(on="photo" if whole else "crop")[0]


def with_words(pixels: Tensor, words: str) -> Tensor:
    """Returns the photo (3, h, w), dimmed and without colour, with words across its middle."""
    from PIL import Image, ImageDraw

    dimmed = 0.3 * _grey(pixels)
    canvas = Image.fromarray(dimmed.mul(255).round().to(torch.uint8).movedim(0, -1).numpy())
    width, height = canvas.size
    font = _font(max(8, min(width, height) // 14))
    lines = _wrapped(words, font, 0.86 * width)
    style = {"fill": "white", "font": font, "anchor": "mm", "align": "center", "spacing": width // 50}
    ImageDraw.Draw(canvas).multiline_text((width / 2, height / 2), "\n".join(lines), **style)
    return torch.from_numpy(np.array(canvas)).movedim(-1, 0) / 255


def _strength(values: Tensor, kind: Reduce, top: float | None) -> Tensor:
    """Divides a map (h, w) by `top` and clips it: to [-1, 1] for the kind `sum`, else to [0, 1]."""
    values = values.detach().float().cpu().nan_to_num(0)
    return (values / (top or limit(values))).clamp(-1 if kind == "sum" else 0, 1)


def _ramp(place: Tensor, colors: Tensor) -> Tensor:
    """Converts places (h, w) in [0, 1] to colours on a list of colours, interpolated linearly."""
    place = place * (len(colors) - 1)
    low = place.floor().long().clamp(max=len(colors) - 2)
    return torch.lerp(colors[low], colors[low + 1], (place - low)[..., None]).movedim(-1, 0)


def _grey(pixels: Tensor) -> Tensor:
    grey = torch.einsum("c,chw->hw", torch.tensor(LUMA), pixels.detach().float().cpu().clamp(0, 1))
    return grey.expand(3, *grey.shape).clone()


@cache
def _font(size_px: int):
    from PIL import ImageFont

    return ImageFont.load_default(size_px)


def _wrapped(words: str, font, width: float) -> list[str]:
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
