"""Draws how far the maps of methods change when a network's weights are random: maps by depth, and curves with bands."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.map_comparison import COLORS
from tapetum.figures.overlay import colorize, limit
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure
from tapetum.figures.words import some
from tapetum.types import Sanity
from tapetum.types.sanity import Measure, Order

MOST_METHODS = len(COLORS)
SIDE_IN = 1.2
CHART_IN = 2.5
CHARTS: tuple[tuple[Order, Measure, str], ...] = (
    ("cascading", "rank", "all from the output down to here: rank correlation"),
    ("independent", "rank", "these layers alone: rank correlation"),
    ("cascading", "ssim", "all from the output down to here: SSIM"),
)


@draw.register
def _(result: Sanity) -> Figure:
    """Draws a row of maps per method, of the first picture: trained, then with random weights by depth; below, the curves."""
    n, d = min(len(result.methods), MOST_METHODS), len(result.layers)
    width, height = max((d + 2) * (SIDE_IN + 0.1), 10.5), n * (SIDE_IN + 0.28)
    title = f"Do the maps depend on the weights of {result.model or 'the model'}?{some(n, len(result.methods), 'methods')}"
    numbers = f"{len(result.targets)} picture{'s' * (len(result.targets) > 1)}, {result.seeds} draws of random weights"
    subtitle = f"above: magnitudes for {result.targets[0]}; below: means over {numbers}, bands: 95 % intervals"
    figure = canvas.page(width, height + CHART_IN + 1.1, title, subtitle)
    parts: Any = figure.subfigures(2, 1, height_ratios=[height, CHART_IN + 1.1])
    for part in parts:
        part.set_facecolor(LIGHT.card)
    panels = canvas.panels(parts[0], n, d + 2)
    for i in range(n):
        _row(panels[i], result, i)
    charts = parts[1].subplots(1, len(CHARTS))
    for axes, (order, measure, words) in zip(charts, CHARTS, strict=True):
        _curves(axes, result, n, order, measure, words)
    charts[0].legend(fontsize=NOTE_PT, frameon=False, loc="best", handlelength=1.4, labelspacing=0.3)
    return figure


def _row(axes: Any, result: Sanity, i: int) -> None:
    """Draws the picture and the maps of one method; the verdict is written below the row."""
    canvas.image(axes[0], result.photograph, result.methods[i], note=result.verdicts[i])
    names = ["trained", *(_short(layer) for layer in result.layers)]
    for place, (name, map_) in enumerate(zip(names, result.maps[i], strict=True)):
        canvas.image(axes[place + 1], colorize(map_.float(), "positive", limit(map_)), name if i == 0 else "")


def _short(layer: str) -> str:
    """Name of a stretch in one short line: its layer nearest to the input, down to which weights are random."""
    first = layer.partition(" to ")[0].partition(", ")[0]
    return first if len(first) <= 16 else f"...{first[-13:]}"


def _curves(axes: Any, result: Sanity, n: int, order: Order, measure: Measure, words: str) -> None:
    """Draws one line per method over the depths, with a band; the dotted line is the method's maps of other pictures."""
    places = list(range(len(result.layers) + (order == "cascading")))
    mean, error = (one.float().cpu() for one in result.curve(order, measure))
    for i in range(n):
        values, band = mean[i], result.margin * error[i].nan_to_num(posinf=0.0)
        if order == "cascading":  # the trained network is itself
            values, band = _from(1.0, values), _from(0.0, band)
        axes.plot(places, values.numpy(), color=COLORS[i], linewidth=1.5, marker="o", markersize=3, label=result.methods[i])
        axes.fill_between(places, (values - band).numpy(), (values + band).numpy(), color=COLORS[i], alpha=0.2, linewidth=0)
        axes.axhline(float(result.unrelated[measure][i]), color=COLORS[i], linewidth=0.8, linestyle=":", alpha=0.8)
    named = [*(["trained"] if order == "cascading" else []), *map(_short, result.layers)]
    canvas.heading(axes, words)
    canvas.plot(axes, "", "dotted: maps of other pictures" if words == CHARTS[0][2] else "")
    axes.set_xticks(places, named, rotation=35, ha="right", rotation_mode="anchor")
    axes.tick_params(labelsize=NOTE_PT)
    axes.set_ylim(top=1.05)


def _from(start: float, values: Tensor) -> Tensor:
    return torch.cat([values.new_tensor([start]), values])
