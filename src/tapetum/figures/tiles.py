"""Prepares optimised pictures for display: a checkerboard under transparent ones, words in place of failed ones, grids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import ceil, sqrt

import torch
from torch import Tensor

from tapetum.figures.overlay import with_words
from tapetum.figures.theme import LIGHT, as_pixel
from tapetum.types import Made, Rendering, TapetumError

WORDS: dict[Made, str] = {"silent": "no gradient ever reached this picture", "non_finite": "NaN or infinity came up"}
"""Words in place of pictures that show nothing of the network."""

SQUARE_PX = 8
LIGHT_SQUARE, DARK_SQUARE = 0.93, 0.78
"""The checkerboard under transparent pictures, as image editors draw it."""

CHANNEL = re.compile(r"channel\(([^(),]+), (\d+)(, pre_activation=True)?\)")
NEURON = re.compile(r"neuron\(([^(),]+), (\d+)(?:, (\d+), (\d+))?\)")

GAP_PX = 4  # between the pictures of a collage


def tile(rendering: Rendering, row: int, frame: int | None = None) -> Tensor:
    """Returns a picture (3, h, w) in [0, 1] for display, or one of its frames; words in place of one that is not `ok`."""
    pixels = rendering.pixels[row] if frame is None or rendering.frames is None else rendering.frames[frame, row]
    return shown_tiles(pixels, rendering.status[row])


def finished(rendering: Rendering, row: int | None) -> Tensor:
    """Returns a picture for a file, with alpha; words in place of one that is not `ok`. Row None: the layout as one picture."""
    if row is None:
        grid = mosaic(rendering)
        if grid is None:
            raise TapetumError(f"the pictures of {rendering.method} have no layout that makes them one")
        return grid
    if rendering.status[row] != "ok":
        return tile(rendering, row)
    return rendering.pixels[row].detach().float().cpu().clamp(0, 1)


def unit_words(objective: str) -> str:
    """Shortens an objective's text to the notation of units: "channel(layer4, 7) - l1" becomes "layer4:7 - l1"."""
    words = CHANNEL.sub(lambda found: f"{found[1]}:{found[2]}{' before its activation' if found[3] else ''}", objective)
    return NEURON.sub(lambda found: f"{found[1]}:{found[2]}@{found[3] or 'middle'}{f',{found[4]}' if found[4] else ''}", words)


def shown_tiles(pixels: Tensor, status: Made = "ok") -> Tensor:
    """Converts pixels (3 | 4, h, w) to (3, h, w) for display, on the CPU.

    Transparent parts show a checkerboard; a picture that is not `ok` shows the reason in words.
    """
    picture = pixels.detach().float().cpu()
    if status != "ok":
        return with_words(torch.full((3, *picture.shape[-2:]), 0.5), WORDS[status])
    if len(picture) == 4:
        colors, alpha = picture[:3].clamp(0, 1), picture[3:].clamp(0, 1)
        picture = colors * alpha + checkerboard(*picture.shape[-2:]) * (1 - alpha)
    return picture.clamp(0, 1)


def checkerboard(height: int, width: int) -> Tensor:
    """Returns squares of two greys, (1, height, width)."""
    down, across = torch.arange(height)[:, None] // SQUARE_PX, torch.arange(width)[None] // SQUARE_PX
    return torch.where((down + across) % 2 == 0, LIGHT_SQUARE, DARK_SQUARE)[None]


def mosaic(rendering: Rendering) -> Tensor | None:
    """Joins the pictures of a layout edge to edge, (3, rows * h, columns * w); None where there is no layout."""
    if not _has_grid(rendering) or rendering.layout is None:
        return None
    return collage([tile(rendering, row) for row in range(len(rendering))], rendering.layout[1], gap_px=0)


def _has_grid(rendering: Rendering) -> bool:
    return rendering.layout is not None and rendering.layout[0] * rendering.layout[1] == len(rendering)


FEW = 16
"""Largest number of pictures of a layout that have room for their names."""


def is_mosaic(rendering: Rendering) -> bool:
    """Returns whether a rendering is a grid of many pictures, which only mean something side by side."""
    return _has_grid(rendering) and len(rendering) > FEW and min(rendering.layout or (1,)) > 1


def collage(tiles: Sequence[Tensor], columns: int, gap_px: int = GAP_PX) -> Tensor:
    """Joins pictures (3, h, w) of one size in rows of `columns`; gaps and empty cells have the colour of a figure's page."""
    height, width = tiles[0].shape[-2:]
    rows = ceil(len(tiles) / columns)
    size = rows * (height + gap_px) - gap_px, columns * (width + gap_px) - gap_px
    page = as_pixel(LIGHT.card).expand(3, *size).clone()
    for i, one in enumerate(tiles):
        top, left = (i // columns) * (height + gap_px), (i % columns) * (width + gap_px)
        page[:, top : top + height, left : left + width] = one
    return page


def across(n: int, most: int, stretch: float = 1.6) -> int:
    """Number of columns for n pictures on a page a little wider than high."""
    return min(n, most, max(1, ceil(sqrt(n * stretch)))) if n > 4 else min(n, most)


def evenly(n: int, most: int) -> list[int]:
    """Returns at most `most` of the indices 0 to n - 1, evenly spaced, with the first and the last."""
    return list(range(n)) if n <= most else [round(i * (n - 1) / (most - 1)) for i in range(most)]
