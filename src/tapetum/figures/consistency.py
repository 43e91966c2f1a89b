"""Draws channels compared over several images: a matrix of images by channels, and maps of the first channels."""

from __future__ import annotations

from typing import Any

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.overlay import colorize, limit, over_photo, signs
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure
from tapetum.figures.words import grid, some
from tapetum.types import ConsistentChannels

MAX_IMAGES = 6  # in one figure; the title says when there are more
MAX_CHANNELS = 10  # of each kind (consistent, specific), in the matrix
MAX_MAPS = 4  # of each kind, over the photographs
CELL_IN, MAP_IN = 0.46, 1.15
DARK = 0.6  # below this percentile a cell is so dark that its number is white


@draw.register
def _(result: ConsistentChannels) -> Figure:
    """Draws percentiles of channels, one row per image; below, maps of the first consistent and the first specific channels."""
    n, listed = min(len(result.photographs), MAX_IMAGES), min(len(result.consistent), MAX_CHANNELS)
    shown = min(listed, MAX_MAPS)
    more = some(n, len(result.photographs))
    heights = [n * CELL_IN + 0.75, n * MAP_IN + 0.35]
    width = max((2 * listed + 2) * CELL_IN, (2 * shown + 1) * MAP_IN, 8.0)
    about = f"{result.activations.shape[1]} channels, {grid(result.maps.shape)} values each"
    subtitle = f"cells: share of channels with a lower mean in that image, in % ({about})"
    title = f"What the channels of {result.layer} agree on, and what not{more}"
    figure = canvas.page(width, sum(heights), title, subtitle)
    above, below = figure.add_gridspec(2, 1, height_ratios=heights)
    cells = above.subgridspec(n, 3, width_ratios=[1.4, listed, listed])
    maps = below.subgridspec(n, 2 + 2 * shown, width_ratios=[1] * (1 + shown) + [0.15] + [1] * shown)
    pictures = [i for i in range(2 + 2 * shown) if i != 1 + shown]  # a gap between the two kinds
    for row in range(n):
        _cells([figure.add_subplot(cells[row, i]) for i in range(3)], result, row, listed, last=row == n - 1)
        _maps([figure.add_subplot(maps[row, i]) for i in pictures], result, row, shown)
    return figure


def _cells(axes: list[Any], result: ConsistentChannels, row: int, listed: int, last: bool) -> None:
    """Draws the row of one image: its photograph, the percentiles of the consistent channels, and of the specific ones."""
    canvas.image(axes[0], result.photographs[row])
    heads = "active in all images", "active in one image more than in any other"
    below = "channel, and its lowest percentile", "channel, and its lead over the second image in sd"
    numbers = result.consistency * 100, result.specificity
    for place, channels in enumerate((result.consistent[:listed], result.specific[:listed])):
        one = axes[place + 1]
        values = result.percentiles[row, channels]
        canvas.image(one, colorize(values[None], "positive", 1.0), heads[place] if row == 0 else "", smooth=False)
        for i, value in enumerate(values.tolist()):
            color = LIGHT.card if value < DARK else LIGHT.ink
            one.text(i, 0, f"{100 * value:.0f}", ha="center", va="center", fontsize=NOTE_PT, color=color)
        if last:
            digits = ".0f" if place == 0 else ".1f"
            named = [f"{channel}\n{float(numbers[place][channel]):{digits}}" for channel in channels.tolist()]
            one.set_xticks(range(len(named)), named, fontsize=NOTE_PT, color=LIGHT.muted)
            one.tick_params(length=0)
            one.set_xlabel(below[place], fontsize=NOTE_PT, color=LIGHT.muted, loc="left")


def _maps(axes: list[Any], result: ConsistentChannels, row: int, shown: int) -> None:
    """Draws the row of one image: its photograph, then the channels' maps over it; a channel has one scale for all images."""
    photo, k = result.photographs[row], len(result.consistent)
    kind = signs(result.maps)
    canvas.image(axes[0], photo, "photograph" if row == 0 else "")
    canvas.side(axes[0], f"image {row + 1}")
    for i in range(2 * shown):
        place = i if i < shown else k + i - shown
        channel = int((result.consistent if i < shown else result.specific)[place % k])
        name = f"{channel}, in {'all' if i < shown else 'one'}" if row == 0 else ""
        canvas.image(axes[i + 1], over_photo(photo, result.maps[row, place], kind, limit(result.maps[:, place])), name)
        if i >= shown and int(result.best[channel]) == row:
            canvas.below(axes[i + 1], "stands out here")
