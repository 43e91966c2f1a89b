"""Sheets: all pictures of a rendering, arranged in a grid as one picture."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.data.preprocessing import size_of
from tapetum.engines.render.optimize import over_background
from tapetum.types import MethodError, Rendering

SMALLEST = 0.05
"""Smallest area or opacity of a picture relative to its cell, so that it stays visible."""


def sheet(
    made: Rendering, *, by: str | None = None, show: Literal["size", "opacity"] = "size", gap_px: int = 0, tint: bool = False
) -> Tensor:
    """Arranges all pictures of a rendering in one picture (3, H, W) in [0, 1] on white: in its layout, or in one row.

    `by` names one of the rendering's `numbers`, such as "magnitude": the area of each picture (or its opacity, with
    show="opacity") is its number divided by the largest one, at least 0.05 (olah2018building). `gap_px` is the white space
    between pictures. `tint` frames each picture in the colour of its column, the one that `places_over` gives to its group.

    Example:
        >>> tp.sheet(tp.visualize(model, ["blocks.3:5", "blocks.3:2"], size=32, n_steps=2), gap_px=4).shape
        torch.Size([3, 32, 68])
    """
    rows, columns = made.layout or (1, len(made))
    pixels = over_background(made.pixels, None).detach()
    height, width = pixels.shape[-2:]
    shares = _shares(made, by)
    if tint:
        pixels = _framed(pixels, colors(columns).to(pixels).repeat(rows, 1))
    cells = [_cell(one, share, show) for one, share in zip(pixels, shares, strict=True)]
    down, right = height + gap_px, width + gap_px
    page = pixels.new_full((3, rows * down - gap_px, columns * right - gap_px), 1)
    for k, cell in enumerate(cells):
        top, left = k // columns * down, k % columns * right
        page[:, top : top + height, left : left + width] = cell
    return page


def _shares(made: Rendering, by: str | None) -> list[float]:
    """Returns each picture's number divided by the largest one, from 0.05 to 1."""
    if by is None:
        return [1.0] * len(made)
    if by not in made.numbers or made.numbers[by].ndim != 1:
        known = [name for name, values in made.numbers.items() if values.ndim == 1]
        raise MethodError(f"this rendering has no numbers '{by}' to show; it has {', '.join(known) or 'none'}")
    values = made.numbers[by].clamp(min=0)
    most = float(values.max())
    return [max(SMALLEST, value / most) if most > 0 else SMALLEST for value in values.tolist()]


def _cell(picture: Tensor, share: float, show: str) -> Tensor:
    """Shrinks a picture (3, h, w) to the share of its area, on white, or fades it to that opacity."""
    if share >= 1:
        return picture
    if show == "opacity":
        return share * picture + (1 - share)
    height, width = size_of(picture)
    h, w = (max(1, round(side * math.sqrt(share))) for side in (height, width))
    small = F.interpolate(picture[None], (h, w), mode="bilinear", antialias=True, align_corners=False)[0]
    top, left = (height - h) // 2, (width - w) // 2
    return F.pad(small, (left, width - w - left, top, height - h - top), value=1)


def _framed(pixels: Tensor, tints: Tensor) -> Tensor:
    """Draws a frame in the colours `tints` (n, 3) over the edges of pictures (n, 3, h, w), 1/20 of the shorter side wide."""
    line = max(1, min(pixels.shape[-2:]) // 20)
    framed = tints[:, :, None, None].expand_as(pixels).clone()
    framed[..., line:-line, line:-line] = pixels[..., line:-line, line:-line]
    return framed


def colors(n: int) -> Tensor:
    """Returns n colours (n, 3) in [0, 1], as far apart in hue as possible and of similar strength."""
    turns = torch.arange(n, dtype=torch.float64)[:, None] / n - torch.arange(3, dtype=torch.float64) / 3
    return 0.55 + 0.4 * (2 * math.pi * turns).cos()


def places_over(photograph: Tensor, places: Tensor, *, opacity: float | int = 0.75) -> Tensor:
    """Draws where each of k groups is active, in its own colour, over the photograph in grey; returns (3, H, W).

    photograph   (3, H, W) in [0, 1]
    places       (k, rows, columns) >= 0, the map of each group on one image; the opacity is proportional to their sum
    """
    large = F.interpolate(places[None], photograph.shape[-2:], mode="bilinear", align_corners=False)[0].to(photograph)
    total = large.sum(0)
    mixed = torch.einsum("khw,kc->chw", large, colors(len(places)).to(photograph)) / torch.where(total > 0, total, 1)
    strength = opacity * total / total.max().clamp(min=torch.finfo(total.dtype).tiny)
    return photograph.mean(0) * (1 - strength) + mixed * strength
