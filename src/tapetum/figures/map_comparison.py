"""Draws several maps with their evidence: overlays, curves of deletion and insertion, and agreement."""

from __future__ import annotations

from math import ceil
from typing import Any

from torch import Tensor

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.overlay import SCALE, colorize, picture
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure
from tapetum.types import MapComparison

SIDE_IN = 1.5
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a6761d", "#56b4e9", "#6a3d9a", "#1b1d1c")
"""Okabe and Ito's colours, which the colour-blind can tell apart, less yellow, and three more; baselines are grey."""
STYLES = ("--", ":")


@draw.register
def _(result: MapComparison) -> Figure:
    """Draws the photograph and each map over it; below, the curves of all maps and the agreement of their top fifths."""
    m = len(result.maps)
    across = min(m + 1, 7)
    bands = ceil((m + 1) / across)
    title = f"{m - result.n_baselines} maps and {result.n_baselines} baselines: {result.maps[0].target[0]}"
    n, width = len(result.photographs), max(across * SIDE_IN, 9.6)
    of = "" if n == 1 else f" · first of {n} images; curves are means over all"
    subtitle = f"below each name: the verdict on the map · each map on its own scale, {SCALE}{of}"
    figure = canvas.page(width, bands * (SIDE_IN + 0.35) + 3.3, title, subtitle)
    parts: Any = figure.subfigures(2, 1, height_ratios=[bands * (SIDE_IN + 0.35), 3.3])
    above, below = parts
    for part in parts:
        part.set_facecolor(LIGHT.card)
    panels = canvas.panels(above, bands, across)
    canvas.image(panels.flat[0], result.photographs[0], "what the model saw")
    for i, one in enumerate(result.maps):
        words = f"{result.names[i]}\n{result.standing(i)}"
        canvas.image(panels.flat[i + 1], picture(one, result.photographs[0]), words)
    deletion, insertion, agreement = below.subplots(1, 3, width_ratios=[1, 1, 1.1])
    _lines(deletion, result, result.deletion, "deletion: low is good", "share of the picture hidden")
    _lines(insertion, result, result.insertion, "insertion: high is good", "share of the picture shown")
    _agreement(agreement, result)
    return figure


def _lines(axes: Any, result: MapComparison, curves: Tensor, title: str, xlabel: str) -> None:
    fraction, first_baseline = result.fraction.cpu().numpy(), len(result.maps) - result.n_baselines
    for i, curve in enumerate(curves.mean(1).float().cpu().numpy()):
        baseline = i >= first_baseline
        color = LIGHT.muted if baseline else COLORS[i % len(COLORS)]
        style = STYLES[(i - first_baseline) % len(STYLES)] if baseline else "-"
        axes.plot(fraction, curve, color=color, linestyle=style, linewidth=1.5, label=result.names[i])
    canvas.heading(axes, title)
    canvas.plot(axes, xlabel, f"{result.measures} of the target")
    axes.set(xlim=(0, 1))
    if title.startswith("insertion"):
        axes.legend(fontsize=NOTE_PT, frameon=False, loc="best", handlelength=1.6, labelspacing=0.3)


def _agreement(axes: Any, result: MapComparison) -> None:
    """Draws a table of agreement: the share of the top fifth of the picture that two maps have in common."""
    canvas.image(axes, colorize(result.agreement, "positive", 1.0), "common top fifth (chance 0.2)", smooth=False)
    m = len(result.names)
    for y in range(m):
        for x in range(m):
            value = float(result.agreement[y, x])
            color = "white" if value < 0.65 else LIGHT.ink
            axes.text(x, y, f"{value:.2f}"[value < 1 :], ha="center", va="center", fontsize=NOTE_PT, color=color)
    axes.set_xticks([])
    axes.set_yticks(range(m), result.names)
    axes.tick_params(labelsize=NOTE_PT if m > 5 else LABEL_PT, colors=LIGHT.muted, length=0)
