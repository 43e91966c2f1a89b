"""Figures of lists: maps of several layers, one row per layer; predictions of several images, one row per image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tapetum.figures import canvas
from tapetum.figures.overlay import channel_picture
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure
from tapetum.figures.words import grid, layer_name, shorten, some
from tapetum.types import ActivationMaps, Number, Prediction, TapetumError

MAX_ROWS = 8  # in one figure; the title says when there are more
MAX_COLUMNS = 6
TILE_IN, PHOTO_IN, BARS_IN = 1.5, 1.5, 4.2
NAME_CHARACTERS = 44


def by_depth(results: Sequence[ActivationMaps]) -> Figure:
    """Draws the channels of the first image, one row per layer from early to deep, each channel on its own scale."""
    rows, columns = min(len(results), MAX_ROWS), min(max(one.values.shape[1] for one in results), MAX_COLUMNS)
    more = [f"{rows} of {len(results)} layers"] * (rows < len(results)) + ["the first image"] * (len(results[0].values) > 1)
    title = f"What {rows} layers found" + (f" ({', '.join(more)})" if more else "")
    subtitle = f"chosen by {results[0].by} over places · each channel on its own scale"
    figure = canvas.page(max(columns * TILE_IN + 0.3, 6.0), rows * (TILE_IN + 0.2), title, subtitle)
    panels = canvas.panels(figure, rows, columns)
    for row, one in enumerate(results[:rows]):
        for i in range(min(one.values.shape[1], columns)):
            canvas.image(panels[row, i], channel_picture(one, 0, i), f"channel {int(one.channels[0, i])}", smooth=False)
        canvas.side(panels[row, 0], f"{layer_name(one.layer)}\n{grid(one.values.shape)}")
    return figure


def answers(results: Sequence[Sequence[Prediction | Number]], pixels: Tensor | None = None) -> Figure:
    """Draws one row per image: the photograph, and bars for its most probable classes, or its numbers, with names."""
    n = len(results)
    if pixels is not None and len(pixels) != n:
        raise TapetumError(f"predictions of {n} images need {n} photographs, got {len(pixels)}")
    rows, first = min(n, MAX_ROWS), 0 if pixels is None else 1
    more = some(rows, n)
    what = "numbers, each in its own units" if isinstance(results[0][0], Number) else "probability of each class"
    figure = canvas.page(BARS_IN + PHOTO_IN * first, rows * PHOTO_IN, f"What the model says{more}", what)
    widths = [PHOTO_IN] * first + [BARS_IN]
    panels = figure.subplots(rows, 1 + first, squeeze=False, width_ratios=widths)
    for row in range(rows):
        if pixels is not None:
            canvas.image(panels[row, 0], pixels[row])
        _bars(panels[row, first], results[row])
    return figure


def _bars(axes: Any, predictions: Sequence[Prediction | Number]) -> None:
    """Draws a bar for each class, its name above, its probability at the end; the numbers of a regression have no bar."""
    for place, one in enumerate(predictions):
        kind = "output" if isinstance(one, Number) else "class"
        name = shorten(one.label or f"{kind} {one.index}", NAME_CHARACTERS)
        axes.text(0, place - 0.26, name, fontsize=LABEL_PT, color=LIGHT.ink, va="bottom", parse_math=False)
        if isinstance(one, Number):
            axes.text(0, place, f"{one.value:,.4g}", fontsize=LABEL_PT, color=LIGHT.accent, va="center")
            continue
        axes.barh(place, one.probability, height=0.34, color=LIGHT.accent if place == 0 else LIGHT.muted)
        axes.text(one.probability + 0.01, place, f"{one.probability:.1%}", fontsize=NOTE_PT, color=LIGHT.muted, va="center")
    axes.set(xlim=(0, 1.12), ylim=(len(predictions) - 0.6, -0.9))
    axes.set_axis_off()
