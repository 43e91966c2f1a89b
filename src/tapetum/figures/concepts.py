"""Draws the channels that carry most of a score: their relevance over the image that the model saw."""

from __future__ import annotations

from math import ceil
from typing import Any

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.overlay import limit, over_photo, with_words
from tapetum.figures.theme import Figure
from tapetum.figures.words import grid
from tapetum.types import ConceptRelevance

TILE_IN = 1.7
MAX_IMAGES, MAX_CHANNELS, ACROSS = 4, 20, 5


@draw.register
def _(result: ConceptRelevance) -> Figure:
    """Draws one row per image: the photograph, then the relevance of each channel over it, all on one scale."""
    n, k = min(len(result.channels), MAX_IMAGES), min(result.channels.shape[1], MAX_CHANNELS)
    bands = ceil(k / ACROSS)
    across = ceil(k / bands)
    whose = result.targets[0] if len(result.channels) == 1 else f"{n} of {len(result.channels)} images"
    title = f"The channels of {result.layer} that the score went through: {whose}"
    cells = grid(result.values.shape)
    says = f"{cells} relevances per channel, red: for, blue: against, one scale per image · below: their sum"
    figure = canvas.page(max((across + 1) * TILE_IN, 7.4), n * bands * (TILE_IN + 0.36), title, says)
    panels = canvas.panels(figure, n * bands, across + 1)
    for row in range(n):
        own = panels[row * bands : (row + 1) * bands]
        whose = result.targets[row] if len(result) > 1 else "all channels"
        note = f"{whose}: {float(result.total[row]):.3g}"
        canvas.image(own[0, 0], result.photographs[row], "what the model saw", note=note)
        for i in range(1 if result.empty(row) else k):
            _channel(own[i // across, 1 + i % across], result, row, i)
    return figure


def _channel(axes: Any, result: ConceptRelevance, row: int, i: int) -> None:
    """Draws one channel's relevance over the photograph, with its sum and its share of the layer's total relevance."""
    photo, total = result.photographs[row].float().cpu(), float(result.total[row])
    if result.empty(row):
        canvas.image(axes, with_words(photo, "nothing of the score came through this layer"), "no channel")
        return
    values = result.values[row].detach().float().cpu()
    canvas.image(axes, over_photo(photo, values[i], "sum", limit(values)), f"channel {int(result.channels[row, i])}")
    one = float(result.relevance[row, i])
    canvas.below(axes, f"{one:+.3g}" + (f", {one / total:.1%} of all" if total > 0 else ""))
