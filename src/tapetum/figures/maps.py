"""Draws activation atlases: the grid of cells as a map."""

from __future__ import annotations

from math import floor
from typing import Any

import torch
from torch import Tensor

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure, as_pixel
from tapetum.figures.tiles import shown_tiles
from tapetum.types import ActivationAtlas

MAP_IN = 9.6
NAMED_IN = 0.55
"""Cells of at least this side have room for the name of their class."""

FAINT = 0.15
"""Opacity of cells that do not support the chosen class."""


@draw.register
def _(result: ActivationAtlas, label: str | int | None = None, names: bool = True) -> Figure:
    """Draws every cell at its place on the map, named by the class whose logit it raises most, else by its commonest label.

    Args: `label` a class of the model: the opacity of cells then grows with their evidence for it. `names` False
    leaves the names out.
    """
    rows, columns = result.grid
    side = MAP_IN / columns
    about = f" in {result.data}" if result.data else ""
    shows = f"what {result.model or 'the model'} tells apart{about}" if label is None else label
    title = f"Activation atlas of {result.layer}: {shows}"
    how = "UMAP" if result.layout == "umap" else "principal components"
    vectors = f"{len(result.points):,} vectors of {len(result.ids):,} pictures"
    each = "each cell shows what the mean of its vectors stands for"
    figure = canvas.page(MAP_IN, side * rows, title, f"{vectors} · laid out by {how} · {each}")
    axes = figure.subplots()
    strengths = _strengths(result, label)
    canvas.image(axes, _page(result, strengths))
    if names and side >= NAMED_IN:
        for cell, strength in zip(result.cells, strengths, strict=True):
            _name(axes, result, cell, strength, side)
    return figure


def _strengths(result: ActivationAtlas, label: str | int | None) -> list[float]:
    """Opacity of each cell, in [0, 1]: by its evidence for the class `label`, or 1 without a class."""
    if label is None:
        return [1.0] * len(result)
    values = dict(result.speaking_for(label))
    most = max(max(values.values()), torch.finfo(torch.float32).tiny)
    return [FAINT + (1 - FAINT) * max(0.0, values[i]) / most for i in range(len(result))]


def _page(result: ActivationAtlas, strengths: list[float]) -> Tensor:
    """Returns the map (3, H, W): pictures of the cells edge to edge, the page's colour where no cell is.

    Without pictures, a square in the accent colour shows the density of each cell.
    """
    rows, columns = result.grid
    pixels = result.pixels
    tile = 24 if pixels is None else int(pixels.shape[-1])
    ground = as_pixel(LIGHT.paper)
    page = ground.expand(3, rows * tile, columns * tile).clone()
    most = max(cell.count for cell in result.cells)
    for i, (cell, strength) in enumerate(zip(result.cells, strengths, strict=True)):
        one = _square(cell.count / most, tile) if pixels is None else shown_tiles(pixels[i], result.status[i])
        place = page[:, cell.row * tile : (cell.row + 1) * tile, cell.column * tile : (cell.column + 1) * tile]
        place.copy_(strength * one + (1 - strength) * ground)
    return page


def _square(share: float, tile: int) -> Tensor:
    """Returns a square picture (3, tile, tile) whose opacity grows with a cell's share of vectors."""
    ink, paper = as_pixel(LIGHT.accent), as_pixel(LIGHT.paper)
    square = paper.expand(3, tile, tile).clone()
    square[:, 1:-1, 1:-1] = (0.15 + 0.85 * share) * ink + (0.85 - 0.85 * share) * paper
    return square


def _name(axes: Any, result: ActivationAtlas, cell: Any, strength: float, side: float) -> None:
    said = cell.supports or cell.labels
    if not said or strength < 0.4:
        return
    size = min(LABEL_PT, NOTE_PT * side / 0.75)
    room = floor(side * 72 / (0.55 * size))  # number of letters of this size that fit in a cell
    words = said[0][0] if len(said[0][0]) <= room else f"{said[0][0][: max(1, room - 1)].rstrip()}…"
    tile = 24 if result.pixels is None else int(result.pixels.shape[-1])
    x, y = (cell.column + 0.04) * tile, (cell.row + 0.96) * tile
    box = {"facecolor": LIGHT.ink, "alpha": 0.62, "linewidth": 0, "pad": 0.8}
    axes.text(x, y, words, fontsize=size, color="white", ha="left", va="bottom", parse_math=False, bbox=box)
