"""A heatmap as colours, alone or exactly over the pixels it belongs to. Nothing here needs matplotlib."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.data.preprocessing import LUMA
from tapetum.figures.theme import LIGHT, anchors, rgb
from tapetum.figures.words import WORDS, grid
from tapetum.types import ActivationMaps, Attribution, Reduce, TapetumError

ROBUST_QUANTILE = 0.995
"""The colour scale ends at this quantile of the magnitudes: a few extreme pixels must not darken all the others."""

ROWS = 512
"""Rows of a photograph that are processed at once: whole vectors of a processor, so that results do not depend on it."""

COVER: dict[Reduce, float] = {"sum": 0.5, "positive": 1.0, "max_abs": 0.65}
"""Exponent of the opacity: maps of single pixels are sparse and need more colour than smooth ones."""

SCALE = "full colour at the 99.5th percentile"


def limit(values: Tensor) -> float:
    """The magnitude with the full colour: the 99.5th percentile of |values|, or their maximum where that is zero."""
    seen = values.detach().abs().float().cpu().flatten()
    sizes = seen[~seen.isnan()].numpy()
    robust = float(np.quantile(sizes, ROBUST_QUANTILE))
    return robust or float(sizes.max()) or 1.0


def colorize(values: Tensor, kind: Reduce, top: float | None = None) -> Tensor:
    """A map (h, w) as colours (3, h, w) in [0, 1].

    `sum` maps are signed: -top is blue, 0 exactly the neutral colour, +top red. Others run from 0 to top. Args: `top`
    the magnitude with the full colour (default: `limit(values)`).
    """
    strength = _strength(values, kind, top)
    colors = _ramp((strength + 1) / 2 if kind == "sum" else strength, anchors(kind))
    return torch.where(values.detach().isnan().cpu(), torch.tensor(rgb(LIGHT.line))[:, None, None], colors)


def signs(values: Tensor) -> Reduce:
    """Colours for values as they are: diverging ("sum") as soon as any of them is negative."""
    return "sum" if bool((values < 0).any()) else "positive"


def channel_picture(maps: ActivationMaps, row: int, i: int) -> Tensor:
    """One channel's map as colours (3, h, w) at the layer's own resolution; words if it holds NaN."""
    values = maps.values[row, i].detach().float().cpu()
    if not bool(values.isfinite().all()):
        return say(values.new_zeros(3, 112, 112), WORDS["non_finite"])
    return colorize(values, signs(maps.values))


def overlay(pixels: Tensor, heatmap: Tensor, kind: Reduce, *, top: float | None = None, opacity: float = 0.85) -> Tensor:
    """The map over its photo: (3, h, w) in [0, 1].

    Where the map is NaN the model saw nothing, and the photo is pale. Elsewhere the colour covers the photo in proportion to
    (|value| / top)^COVER, so where the map is low the grey photo shows.

    Args: `pixels` (3, h, w) in [0, 1]; `heatmap` (h, w), of the same size or it is refused; `opacity` in [0, 1] at
    full strength.
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
    ground = 0.65 * _grey(pixels) + (0.3 if kind == "sum" else 0)  # towards the colour that means zero
    cover = opacity * _strength(heatmap, kind, top).abs().pow(COVER[kind])
    over = torch.lerp(ground, colorize(heatmap, kind, top), cover)
    return torch.where(heatmap.detach().isnan().cpu(), 0.35 * _grey(pixels) + 0.6, over)


def over(photo: Tensor, values: Tensor, kind: Reduce, top: float | None = None) -> Tensor:
    """The map (h, w) of a layer over a photo (3, H, W), upsampled bilinearly."""
    heatmap = F.interpolate(values.detach()[None, None].float(), photo.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    return overlay(photo.float(), heatmap.to(photo.device), kind, top=top)


def picture(attribution: Attribution, pixels: Tensor, row: int = 0, on: Literal["crop", "photo"] = "crop") -> Tensor:
    """Picture (3, h, w) of one image's map: the overlay, or the dimmed photo with the reason why there is no map.

    pixels: what the model saw, or with on="photo" the whole photograph.
    """
    status = attribution.status[row]
    if status != "ok":
        return say(pixels, WORDS[status])
    return overlay(pixels, attribution[row].heatmap(on=on)[0], attribution.reduce)


def laid(attribution: Attribution, pixels: Tensor, row: int) -> Tensor:
    """(h, w): one image's map as it lies over these pixels: the whole photograph's where only that has their size."""
    one, size = attribution[row], tuple(pixels.shape[-2:])
    whole = size != one.size and [crop.size for crop in one.photos] == [size]
    return one.heatmap(on="photo" if whole else "crop")[0]


def say(pixels: Tensor, words: str) -> Tensor:
    """The photo, dimmed and without colour, with words across its middle: (3, h, w)."""
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
    """(h, w): signed in [-1, 1] for `sum`, else in [0, 1]."""
    values = values.detach().float().cpu().nan_to_num(0)
    return (values / (top or limit(values))).clamp(-1 if kind == "sum" else 0, 1)


def _ramp(place: Tensor, colors: Tensor) -> Tensor:
    """Places (h, w) in [0, 1] along a list of colours, straight lines between neighbours."""
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
