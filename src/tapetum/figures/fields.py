"""Draws receptive fields and occlusion probes: squares over the image that the model saw."""

from __future__ import annotations

from math import ceil
from textwrap import wrap
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.figures import canvas
from tapetum.figures.depth import MAX_IMAGES
from tapetum.figures.draw import draw
from tapetum.figures.overlay import colorize
from tapetum.figures.theme import NOTE_PT, Figure
from tapetum.figures.words import layer_name, some
from tapetum.types import OcclusionProbe, ReceptiveFields
from tapetum.types.depth import Field, Window

COLORS = ("#0b6e66", "#d98e04", "#b1182b", "#4a5fc1", "#7a3b8f", "#5c625f")
"""Colours of layers, distinct in hue and lightness; used again from the seventh layer on."""

BLOB_IN = 1.9
BEYOND = 0.6  # of the image's side: larger squares are cut off, so that the photograph does not become tiny
WIDE = 13
"""Longest layer name, in letters, for which the legend has two columns."""

FULL_AT = 0.25
"""Exponent applied to the squared gradient before it is drawn: the fourth root makes small values visible."""


@draw.register
def _(result: ReceptiveFields) -> Figure:
    """Draws the photograph with the receptive field of each layer's middle place; beside it the gradient at each pixel."""
    d = len(result.fields)
    beside = 2 if d <= 4 else 3
    columns = 2 + beside
    rows = 2 + ceil(max(0, d - 2 * beside) / columns)
    subtitle = f"lines: theory (dashed: the square with 95 % of the squared gradient) · measured on {result.measured_on}"
    title = f"What the middle place of layers of {result.model} sees"
    side = BLOB_IN if beside == 2 else 1.75
    listed = d if _wide(result) else ceil(d / 2)
    figure = canvas.page(columns * side + 0.2, rows * (side + 0.62) + 0.16 * max(0, listed - 3), title, subtitle)
    grid = figure.add_gridspec(rows, columns)
    _squares(figure.add_subplot(grid[:2, :2]), result)
    free = [(row, column) for row in range(rows) for column in range(columns) if row > 1 or column > 1]
    for (i, field), place in zip(enumerate(result.fields), free, strict=False):
        _blob(figure.add_subplot(grid[place]), result, i, field)
    return figure


def _squares(axes: Any, result: ReceptiveFields) -> None:
    """Draws all squares over the photograph, also where they reach beyond its border."""
    h, w = result.size
    canvas.image(axes, 0.55 * result.photograph.float() + 0.4, f"what the model saw, {h} × {w} px")
    sight = [0, h - 1, 0, w - 1]
    for i, field in reversed(list(enumerate(result.fields))):
        color = COLORS[i % len(COLORS)]
        if field.theory is not None:
            outline(axes, field.theory, color, label=f"{layer_name(field.layer)}: {field.side} px")
            if max(-field.theory[0], -field.theory[2], field.theory[1] - h, field.theory[3] - w) <= BEYOND * max(h, w):
                sight = [pick(one, two) for pick, one, two in zip((min, max, min, max), sight, field.theory, strict=True)]
        else:
            axes.plot([], [], color=color, label=f"{layer_name(field.layer)}: whole image")
        if field.effective is not None:
            outline(axes, field.effective, color, style="--")
    axes.set_xlim(sight[2] - 2, sight[3] + 2)
    axes.set_ylim(sight[1] + 2, sight[0] - 2)
    handles, names = axes.get_legend_handles_labels()
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (-0.02, -0.01)}
    axes.legend(handles[::-1], names[::-1], fontsize=NOTE_PT, frameon=False, ncols=1 if _wide(result) else 2, **place)


def _wide(result: ReceptiveFields) -> bool:
    """Returns whether a legend of two columns would be wider than the photograph."""
    return max(len(layer_name(field.layer)) for field in result.fields) > WIDE


def _blob(axes: Any, result: ReceptiveFields, i: int, field: Field) -> None:
    """Draws the squared gradient at each pixel, cut to the theoretical receptive field."""
    h, w = result.size
    top, bottom, left, right = (0, h - 1, 0, w - 1) if field.theory is None else field.theory
    cut = top, bottom, left, right = max(top, 0), min(bottom, h - 1), max(left, 0), min(right, w - 1)
    energy = result.energy[i, top : bottom + 1, left : right + 1]
    picture = colorize(energy.clamp(min=0) ** FULL_AT, "positive", 1.0)
    measured, share = field.extent((h, w), " px"), field.effective_side
    theory = "whole image" if field.side is None else f"{field.side} px"
    canvas.image(axes, picture, layer_name(field.layer), False, f"theory {theory}\nmeasured {measured}\n95 % within {share} px")
    axes.images[0].set_extent((cut[2] - 0.5, cut[3] + 0.5, cut[1] + 0.5, cut[0] - 0.5))
    if field.effective is not None:
        outline(axes, field.effective, "#ffffff", style="--")
    for side in axes.spines.values():
        side.set_visible(True)
        side.set(color=COLORS[i % len(COLORS)], linewidth=2)


def outline(axes: Any, window: Window, color: str, style: str = "-", width: float = 1.6, label: str = "") -> None:
    """Draws the border around a window (first and last row, first and last column) of pixels."""
    top, bottom, left, right = window[0] - 0.5, window[1] + 0.5, window[2] - 0.5, window[3] + 0.5
    x, y = [left, right, right, left, left], [top, top, bottom, bottom, top]
    axes.plot(x, y, style, color=color, linewidth=width, label=label or None, scalex=False, scaley=False)


@draw.register
def _(result: OcclusionProbe) -> Figure:
    """Draws one row per image: before, after, and how much each layer changed.

    On each layer's grid, the places under the box have a solid outline, and those that can see the box a dashed one.
    """
    n, d = min(len(result.before), MAX_IMAGES), len(result.layers)
    bands = ceil((d + 2) / 4)
    across = ceil((d + 2) / bands)
    more = some(n, len(result.before))
    title = f"What hiding {result.words()} changes{more}"
    marks = "mean |change| of the channels, each on its own scale · solid: places under the box · dashed: those that can see it"
    subtitle = f"the box is replaced by {result.fill}\n{marks}"
    figure = canvas.page(max(across * BLOB_IN, 7.6), n * bands * (BLOB_IN + 0.62), title, subtitle)
    panels = canvas.panels(figure, n * bands, across)
    answers = result.answers()
    for row in range(n):
        own = panels[row * bands : (row + 1) * bands].flat
        before, _, after = answers[row].partition(", ") if answers else ("", "", "")
        canvas.image(own[0], result.before[row], "before", note="\n".join(wrap(before, 31)))
        canvas.image(own[1], result.after[row], "after", note="\n".join(wrap(after, 31)))
        for axes in own[:2]:
            outline(axes, result.box, COLORS[1], width=1.2)
        for i in range(d):
            _change(own[2 + i], result, row, i)
    return figure


def _change(axes: Any, result: OcclusionProbe, row: int, i: int) -> None:
    change = result.changes[i][row]
    h, w = change.shape
    share = float(result.share_under[i, row])
    here = "no change at all" if share != share else f"{share:.0%} of the change under it"
    note = f"{h} × {w} places\n{here}\nlargest {float(change.max()):.3g}"
    canvas.image(axes, _nearest(change), layer_name(result.layers[i]), False, note)
    axes.images[0].set_extent((-0.5, w - 0.5, h - 0.5, -0.5))
    reach = result.reach[i]
    outline(axes, result.under[i], "#ffffff", width=1.4)
    if reach is not None and reach[0] <= reach[1] and reach[2] <= reach[3]:
        outline(axes, reach, "#ffffff", style="--", width=1.2)


def _nearest(change: Tensor) -> Tensor:
    """Converts a map to colours; each place of a small map becomes a square of pixels, so that it stays sharp."""
    picture = colorize(change, "positive")
    factor = max(1, 112 // max(1, min(change.shape)))
    return F.interpolate(picture[None], scale_factor=factor, mode="nearest")[0] if factor > 1 else torch.clone(picture)
