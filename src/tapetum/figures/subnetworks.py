"""Draws how alike two masks are, and what a part of a network keeps of a score, each beside random masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapetum.families.subnetworks.masks import Faithfulness, MaskOverlap
from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure
from tapetum.figures.words import layer_name, some

MOST_LAYERS, MOST_IMAGES = 30, 30
WIDTH_IN, ROW_IN = 9.0, 0.36


@draw.register
def _(result: MaskOverlap) -> Figure:
    """Draws a bar per layer, the intersection over union; the line across it is what random masks of these sizes have."""
    rows = range(min(len(result), MOST_LAYERS))
    total = (
        f"all layers: {result.total:.2f}, by chance {result.expected_total:.2f}"
        if result.total == result.total
        else "one layer"
    )
    words = f"bar: units that both keep, as a share of those that any keeps · line: random masks of these sizes · {total}"
    title = f"How alike two masks are{some(len(rows), len(result), 'layers')}"
    figure = canvas.page(WIDTH_IN, max(1.2, 0.6 + len(rows) * ROW_IN), title, words)
    axes = figure.subplots()
    axes.barh(rows, result.iou[: len(rows)].tolist(), height=0.6, color=LIGHT.accent)
    for y, (expected, p) in enumerate(zip(result.expected.tolist(), result.p.tolist(), strict=True)):
        if y < len(rows):
            axes.plot([expected, expected], [y - 0.42, y + 0.42], color=LIGHT.ink, linewidth=1.4)
            first, second, both = result.sizes[y].tolist()
            said = f"{both} in common of {first} and {second} · p = {p:.2g}"
            axes.text(1.03, y, said, fontsize=NOTE_PT, color=LIGHT.ink, va="center", clip_on=False)
    canvas.plot(axes, "intersection over union", "")
    axes.grid(visible=False)
    axes.set(xlim=(0, 1.42), ylim=(len(rows) - 0.4, -0.6))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.set_yticks(rows, [layer_name(name, 30) for name in result.layers[: len(rows)]])
    axes.tick_params(axis="y", labelsize=NOTE_PT, colors=LIGHT.ink, length=0)
    return figure


@draw.register
def _(result: Faithfulness) -> Figure:
    """Draws the share of the score that the part keeps beside random parts, and the score of each image by all of them."""
    n = min(len(result), MOST_IMAGES)
    kept, total = result.units
    whole = result.kept == result.kept
    said = f"{kept} of {total} units keep {result.kept:.0%} of the score" if whole else f"The score by {kept} of {total} units"
    words = f"grey: {len(result.random)} random parts with as many units of each layer"
    words += f" · p = {result.p:.2g}" if whole else ""
    figure = canvas.page(WIDTH_IN, max(2.4, 0.7 + n * 0.24) if n > 1 else 2.0, f"{said}{some(n, len(result))}", words)
    if whole:
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
        _share(left, result)
    else:
        right = figure.subplots()
    _images(right, result, n)
    return figure


def _share(axes: Any, result: Faithfulness) -> None:
    """Draws what the part keeps with its interval, above what each random part keeps."""
    others, (low, high) = np.sort(np.array(result.random_kept)), result.interval
    shaken = 1 + 0.5 * (np.modf(np.arange(len(others)) * 0.618)[0] - 0.5)
    axes.scatter(others, shaken, s=14, color=LIGHT.muted, alpha=0.6, linewidths=0)
    axes.plot([low, high], [0, 0], color=LIGHT.accent, linewidth=2)
    axes.plot([result.kept], [0], "D", color=LIGHT.accent, markersize=8)
    for place in (0, 1):
        axes.axvline(place, color=LIGHT.line, linewidth=1, zorder=0)
    canvas.plot(axes, "share of the score that is kept", "")
    axes.grid(visible=False)
    axes.set_ylim(1.6, -0.6)
    axes.set_yticks([0, 1], ["this part, 95 %", "random parts"])
    axes.tick_params(axis="y", labelsize=NOTE_PT, colors=LIGHT.ink, length=0)
    axes.margins(x=0.08)
    canvas.heading(axes, "0: as without these units · 1: as with all of them")


def _images(axes: Any, result: Faithfulness, n: int) -> None:
    """Draws a row per image: its score by the whole network, by the part, without the units, and by random parts."""
    rows = list(range(n))
    for values in result.random.tolist():
        axes.plot(values[:n], rows, ".", color=LIGHT.muted, markersize=3, alpha=0.5, label="random parts")
    axes.plot(
        result.empty[:n].tolist(), rows, "|", color=LIGHT.caution, markersize=9, markeredgewidth=1.6, label="without all units"
    )
    axes.plot(result.full[:n].tolist(), rows, "o", color=LIGHT.ink, fillstyle="none", markersize=7, label="whole network")
    axes.plot(result.part[:n].tolist(), rows, "D", color=LIGHT.accent, markersize=5, label="this part")
    canvas.plot(axes, "score of the target", "")
    axes.grid(visible=False)
    axes.set_ylim(n - 0.4, -0.6 - 0.06 * n)
    axes.set_yticks(rows if n <= 12 else [], [f"image {row}" for row in rows] if n <= 12 else [])
    axes.tick_params(axis="y", labelsize=NOTE_PT, colors=LIGHT.ink, length=0)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(
        handles.values(),
        handles,
        fontsize=NOTE_PT,
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=4,
        handletextpad=0.3,
        borderpad=0,
    )
