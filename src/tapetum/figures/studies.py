"""Draws optimised pictures beside their photographs: information by depth, and filter specialization."""

from __future__ import annotations

import textwrap
from typing import Any

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.overlay import over_photo
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure
from tapetum.figures.tiles import tile
from tapetum.figures.words import some
from tapetum.types import FilterSpecialization, InformationByDepth

MAX_IMAGES = 4  # photographs in one figure; the title says when there are more
SIDE_IN = 1.45
LETTER_IN = 0.069  # average width of a letter of LABEL_PT
MEASURES = {"ssim": "SSIM to the photograph", "psnr": "PSNR in dB", "feature_distance": "feature distance"}


@draw.register
def _(result: InformationByDepth) -> Figure:
    """Draws one row per photograph: the photograph and its inversion at each depth; below, the measures by depth.

    The bottleneck is marked.
    """
    n, d = min(len(result.photographs), MAX_IMAGES), len(result.layers)
    columns = d + 1
    ratio = result.pixels.shape[-2] / result.pixels.shape[-1]
    (before, after), *others = result.bottlenecks
    first = " (first photograph)" if others else ""
    lost = f"most is lost between {before} and {after}{first} · inversions, {result.steps[-1]} steps"
    size = max(columns * SIDE_IN, 6.6), n * (SIDE_IN * ratio + 0.32) + 2.3
    more = some(n, len(result.photographs), "photographs")
    figure = canvas.page(*size, f"What is left of a photograph at each depth{more}", lost)
    grid = figure.add_gridspec(n + 1, 3 * columns, height_ratios=[*[SIDE_IN * ratio + 0.32] * n, 2.1])
    for row in range(n):
        canvas.image(figure.add_subplot(grid[row, :3]), result.photographs[row], "photograph" if row == 0 else "")
        for i, layer in enumerate(result.layers):
            place = row * d + i
            note = f"SSIM {float(result.numbers['ssim'][place]):.2f}"
            axes = figure.add_subplot(grid[row, 3 * i + 3 : 3 * i + 6])
            canvas.image(axes, tile(result, place), layer if row == 0 else "", note=note)
    for i, name in enumerate(MEASURES):
        _curves(figure.add_subplot(grid[n, i * columns : (i + 1) * columns]), result, name, n)
    return figure


def _curves(axes: Any, result: InformationByDepth, name: str, n: int) -> None:
    """Draws one line per photograph; the step between depths at which the first photograph loses most is shaded."""
    values = result.numbers[name].view(-1, len(result.layers))[:n].detach().float().cpu().numpy()
    places = range(len(result.layers))
    for row in range(n):
        axes.plot(places, values[row], color=LIGHT.accent, linewidth=1.5, marker="o", markersize=3, alpha=1 - 0.6 * row / n)
    named = ("photograph", *result.layers)
    end = named.index(result.bottlenecks[0][1]) - 1
    axes.axvspan(end - 1, end, color=LIGHT.wash, linewidth=0)
    axes.set_xlim(min(-0.3, end - 1), len(result.layers) - 0.7)
    canvas.heading(axes, MEASURES[name])
    canvas.plot(axes, "", "")
    axes.set_xticks(list(places), result.layers, rotation=35, ha="right", rotation_mode="anchor")
    axes.tick_params(labelsize=NOTE_PT)


@draw.register
def _(result: FilterSpecialization) -> Figure:
    """Draws two rows per photograph and layer: pictures of its most active channels, and where they are active in it."""
    n, d, k = result.channels.shape
    n, shown_k = min(n, 2), min(k, 10)
    columns = shown_k + 1
    height = n * d * (2 * 1.12 + 0.42)
    width = max(columns * 1.12 + 0.3, 6.0)
    about = textwrap.fill(_held(result), int(width / LETTER_IN))
    more = some(n, len(result.photographs), "photographs")
    figure = canvas.page(width, height, f"What the most active filters look for{more}", about)
    panels = canvas.panels(figure, 2 * n * d, columns)
    for band in range(n * d):
        row, layer = divmod(band, d)
        photo = result.photographs[row]
        top, below = panels[2 * band], panels[2 * band + 1]
        canvas.image(top[0], photo, result.layers[layer], note="photograph")
        for i in range(shown_k):
            place = band * k + i
            canvas.image(top[i + 1], tile(result, place), f"channel {int(result.channels[row, layer, i])}")
            extent = float(result.numbers["extent"][place])
            answer = over_photo(photo, result.maps[layer][row, i].clamp(min=0), "positive")
            canvas.image(below[i + 1], answer, note=f"{extent:.0%} of places")
    return figure


def _held(result: FilterSpecialization) -> str:
    shape = result.channels.shape
    extents = result.numbers["extent"].view(*shape).mean((0, 2)).tolist()
    places = ", ".join(f"{layer} {extent:.0%}" for layer, extent in zip(result.layers, extents, strict=True))
    return f"above: the picture that drives the channel most; below: where it answered · places above half the peak: {places}"
