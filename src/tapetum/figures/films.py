"""Figures of maps of films and volumes: a row of slices for each of them."""

from __future__ import annotations

import torch

from tapetum.figures import canvas
from tapetum.figures.overlay import SCALE, colorize, limit, with_words
from tapetum.figures.theme import Figure
from tapetum.figures.tiles import evenly
from tapetum.figures.words import WORDS
from tapetum.types import Attribution

MOST = 8
"""Largest number of slices in a row, chosen at even distances."""

ROWS = 8


def slices(result: Attribution) -> Figure:
    """Draws one row per film and one panel per frame; the frames of a film have one scale."""
    maps = result.films()
    rows, frames = min(len(maps), ROWS), maps.shape[1]
    chosen = evenly(frames, MOST)
    title = f"{result.method}: {result.target[0]}" if len(result) == 1 else f"{result.method}, {rows} of {len(result)} films"
    subtitle = f"{len(chosen)} of {frames} frames, one scale per film; {SCALE}"
    figure = canvas.page(max(len(chosen) * 1.6, 5.2), rows * 1.9, title, subtitle)
    panels = figure.subplots(rows, len(chosen), squeeze=False)
    for row, line in enumerate(panels):
        top = limit(maps[row])
        for axes, frame in zip(line, chosen, strict=True):
            status = result.status[row]
            plain = torch.full((3, 96, 96), 0.5)
            drawn = colorize(maps[row, frame], result.reduce, top) if status == "ok" else with_words(plain, WORDS[status])
            canvas.image(axes, drawn, f"frame {frame}" if row == 0 else "", smooth=False)
    return figure
