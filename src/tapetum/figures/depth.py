"""Draws layers from early to deep: tables as bars, properties, mean activations, and mean maps."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import Any

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.overlay import colorize, signs
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure
from tapetum.figures.words import grid, layer_name, some
from tapetum.types import DepthProperties, LayerProgression, LayerTable, MeanActivations

MAX_IMAGES = 4  # photographs in one figure; the title says when there are more
ROW_IN, LEAST_ROW_IN, LABEL_IN = 0.17, 0.05, 0.14
LONGEST_IN = 18.0
STRIP_IN, STRIP_COLUMNS = 1.45, 6
SECOND = "#d98e04"  # used beside the accent colour; differs from it in lightness too


@draw.register
def _(result: LayerTable) -> Figure:
    """Draws one row per layer, from early to deep: values, parameters, receptive field, shares of zeros, mean."""
    rows = result.rows
    step = min(ROW_IN, max(LEAST_ROW_IN, LONGEST_IN / len(rows)))
    subtitle = f"{len(rows)} layers, the first at the top · on {_images(result.means.shape[1])} of {grid(result.size)} px"
    figure = canvas.page(9.0, max(1.6, step * len(rows)) + 0.6, f"The layers of {result.model}", subtitle)
    panels = figure.subplots(1, 5, sharey=True)
    every = ceil(LABEL_IN / step)
    _bars(panels[0], [prod(row.shape) for row in rows], "values it gives (log)", log=True)
    _bars(panels[1], [row.parameters for row in rows], "parameters (log)", log=True)
    _bars(panels[2], [row.receptive_field or 0 for row in rows], "receptive field, px")
    _bars(panels[3], [row.not_positive for row in rows], "share of values", label="≤ 0", color=LIGHT.line)
    _bars(panels[3], [row.zeros for row in rows], "share of values", label="exactly 0")
    panels[3].set_xlim(0, 1)
    panels[3].legend(fontsize=NOTE_PT, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0)
    _bars(panels[4], [row.mean for row in rows], "mean activation")
    places = range(0, len(rows), every)
    panels[0].set_yticks(list(places), [layer_name(rows[i].name, 34) for i in places], fontsize=NOTE_PT)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    for i, row in enumerate(rows):
        if row.receptive_field is None:
            panels[2].text(0, i, " whole image" if i % every == 0 else "", fontsize=NOTE_PT - 1, color=LIGHT.muted, va="center")
    return figure


def _bars(
    axes: Any, values: Sequence[float | int], name: str, *, log: bool = False, label: str = "", color: str = LIGHT.accent
) -> None:
    axes.barh(range(len(values)), values, height=0.72, color=color, label=label)
    canvas.plot(axes, name, "")
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=LIGHT.line, linewidth=0.6)
    if log and max(values) > 0:
        axes.set_xscale("log")


@draw.register
def _(result: DepthProperties) -> Figure:
    """Draws six charts over depth: places, channels, values per pixel, receptive fields, sparsity, mean activation."""
    rows, side = result.rows, max(result.size)
    width = max(8.4, 3 * (0.36 * len(rows) + 1.0))
    subtitle = f"computed on {_images(result.means.shape[1])} of {grid(result.size)} px · from early (left) to deep (right)"
    figure = canvas.page(width, 5.4, f"What {result.model} trades for what with depth", subtitle)
    (places, channels, values), (fields, sparsity, means) = figure.subplots(2, 3, sharex=True)
    _columns(places, [max(row.grid) for row in rows], "places per side")
    _columns(channels, [row.channels for row in rows], "channels")
    _columns(values, [row.per_pixel for row in rows], "values per pixel of the image")
    drawn = [(row.field or side, row.measured, row.effective) for row in rows]
    labels = ("theory", "measured", "95 % of the gradient")
    for i, (style, color) in enumerate((("o-", LIGHT.ink), ("s-", LIGHT.accent), ("^-", SECOND))):
        fields.plot([one[i] for one in drawn], style, color=color, linewidth=1.4, markersize=4, label=labels[i])
    fields.axhline(side, color=LIGHT.muted, linewidth=0.8, linestyle=":", label=f"the image, {side} px")
    fields.set_ylim(0)
    _head(fields, "receptive field, px")
    sparsity.bar(range(len(rows)), [row.not_positive for row in rows], color=LIGHT.line, label="≤ 0")
    sparsity.bar(range(len(rows)), [row.zeros for row in rows], color=LIGHT.accent, label="exactly 0")
    sparsity.set_ylim(0, 1)
    _head(sparsity, "share of values")
    _columns(means, result.means.mean(1).tolist(), "mean activation")
    for axes in (fields, sparsity):
        axes.legend(fontsize=NOTE_PT, frameon=False)
    for axes in (fields, sparsity, means):
        _named(axes, [row.layer for row in rows])
    return figure


def _columns(axes: Any, values: Sequence[float | int], name: str) -> None:
    axes.bar(range(len(values)), values, width=0.66, color=LIGHT.accent)
    for i, value in enumerate(values):
        words = f"{value:.3g}" if isinstance(value, float) else f"{value:,}"
        offset, side = ((0, 2), "bottom") if value >= 0 else ((0, -3), "top")
        style = {"ha": "center", "va": side, "fontsize": NOTE_PT, "color": LIGHT.muted}
        axes.annotate(words, (i, value), xytext=offset, textcoords="offset points", **style)
    axes.axhline(0, color=LIGHT.line, linewidth=0.8)
    axes.use_sticky_edges = False
    axes.margins(y=0.14)
    if min(values) >= 0:
        axes.set_ylim(bottom=0)
    _head(axes, name)


def _head(axes: Any, name: str) -> None:
    canvas.heading(axes, name)
    canvas.plot(axes, "", "")


def _named(axes: Any, layers: Sequence[str]) -> None:
    axes.set_xticks(range(len(layers)), [layer_name(name) for name in layers], rotation=35, ha="right", rotation_mode="anchor")
    axes.tick_params(labelsize=NOTE_PT)


@draw.register
def _(result: MeanActivations) -> Figure:
    """Draws the mean by depth as a line, the middle 80 % of the channels as a band, and each image as a dot."""
    d, n = len(result.layers), len(result.means[0])
    subtitle = "line: mean over channels and images · band: the middle 80 % of the channels"
    subtitle += " · dots: images" if n > 1 else ""
    figure = canvas.page(max(6.4, 0.42 * d + 1.6), 3.4, f"How active the layers of {result.model} are", subtitle)
    axes = figure.subplots()
    channels = [one.detach().double().mean(0).cpu() for one in result.means]
    low, high = ([float(one.quantile(q)) for one in channels] for q in (0.1, 0.9))
    axes.fill_between(range(d), low, high, color=LIGHT.wash, linewidth=0)
    axes.plot([float(one.mean()) for one in channels], color=LIGHT.accent, linewidth=1.6, marker="o", markersize=4)
    if n > 1:
        for i, one in enumerate(result.means):
            values = one.detach().double().mean(1).tolist()
            axes.plot([i] * n, values, ".", color=LIGHT.ink, markersize=3, alpha=0.5)
    axes.axhline(0, color=LIGHT.line, linewidth=0.8)
    canvas.plot(axes, "", "mean activation over places")
    _named(axes, result.layers)
    return figure


@draw.register
def _(result: LayerProgression) -> Figure:
    """Draws the photograph, then each layer's mean over channels at its own resolution and on its own scale."""
    n, d = min(len(result.photographs), MAX_IMAGES), len(result.layers)
    bands = ceil((d + 1) / STRIP_COLUMNS)
    columns = ceil((d + 1) / bands)
    more = some(n, len(result.photographs))
    title = f"What every stage of {result.model} keeps{more}"
    blue = " (blue: below 0)" if "sum" in map(signs, result.maps) else ""
    words = f"mean over the channels of each layer, each on its own scale{blue}"
    figure = canvas.page(max(columns * STRIP_IN, 5.6), n * bands * (STRIP_IN + 0.42), title, words)
    panels = canvas.panels(figure, n * bands, columns)
    for row in range(n):
        canvas.image(panels[row * bands, 0], result.photographs[row], "photograph", note=f"{grid(result.photographs.shape)} px")
        for i, (layer, maps) in enumerate(zip(result.layers, result.maps, strict=True), 1):
            values = maps[row]
            picture = colorize(values, signs(maps))
            note = f"{grid(values.shape)} · {result.channels[i - 1]} channels"
            canvas.image(panels[row * bands + i // columns, i % columns], picture, layer_name(layer), False, note)
    return figure


def _images(n: int) -> str:
    return "one image" if n == 1 else f"{n} images"
