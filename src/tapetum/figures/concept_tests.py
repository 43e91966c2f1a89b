"""Draws what tests of concepts found, beside what chance gives."""

from __future__ import annotations

from textwrap import fill
from typing import Any

from torch import Tensor

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.overlay import over_photo
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure
from tapetum.types import Craft, Tcav
from tapetum.types.concept_tests import DEPENDENCE

WIDTH_IN, ROW_IN, MOST = 9.4, 0.42, 24

COLORS = {"raises": LIGHT.accent, "lowers": LIGHT.caution, "none": LIGHT.muted, "unknown": LIGHT.muted}


@draw.register
def _(result: Tcav) -> Figure:
    """Draws a row per concept: its effect, its TCAV score and its accuracy, each beside the band of shuffled pictures."""
    k = min(len(result.concepts), MOST)
    title = f"Does {result.target} depend on these concepts? {result.model}, {result.layer}"
    images = f"{result.sensitivity.shape[1]} images"
    words = f"{images} · grey: the middle 95 % of vectors from shuffled pictures · filled: p ≤ {result.level:g}"
    figure = canvas.page(WIDTH_IN, max(1.5, 0.9 + k * ROW_IN), title, words)
    axes = figure.subplots(1, 3, width_ratios=[1.5, 1, 1])
    _column(axes[0], result, result.effect, result.null_effect, "change of the score for the vector's step", k)
    _column(axes[1], result, result.score, result.null_score, "TCAV score", k)
    _accuracy(axes[2], result, k)
    axes[0].axvline(0, color=LIGHT.line, linewidth=1, zorder=0)
    _names(axes[0], result, k)
    return figure


def _column(axes: Any, result: Tcav, values: Tensor, null: Tensor, label: str, k: int) -> None:
    for y in range(k):
        low, high = null[y].tolist()
        axes.barh(y, high - low, left=low, height=0.5, color=LIGHT.line)
        _dot(axes, result, y, float(values[y]))
    _finish(axes, label, k)


def _accuracy(axes: Any, result: Tcav, k: int) -> None:
    """Draws how well left-out pictures are told apart; the grey bar ends where 95 % of the shuffled labellings lie."""
    for y in range(k):
        axes.barh(y, float(result.null_accuracy[y]), height=0.5, color=LIGHT.line)
        _dot(axes, result, y, float(result.accuracy[y]))
    axes.set_xlim(0, 1.04)
    _finish(axes, "left-out pictures told apart", k)


def _dot(axes: Any, result: Tcav, y: int, value: float) -> None:
    outcome = result.outcomes[y]
    fill = COLORS[outcome] if outcome in ("raises", "lowers") else LIGHT.card
    axes.plot([value], [y], "o", color=COLORS[outcome], markerfacecolor=fill, markersize=7, clip_on=False)


def _finish(axes: Any, label: str, k: int) -> None:
    axes.set_ylim(k - 0.4, -0.6)
    axes.set_yticks([])
    canvas.plot(axes, label, "")
    axes.grid(visible=False)


def _names(axes: Any, result: Tcav, k: int) -> None:
    said = [
        f"{name[:28]}\n{DEPENDENCE[result.outcomes[i]]}, p = {float(result.p[i]):.2g}" for i, name in enumerate(result.names)
    ]
    canvas.rows(axes, said[:k], NOTE_PT)
    axes.xaxis.label.set_size(LABEL_PT)


CROP_IN, LINES = 0.86, 12


@draw.register
def _(result: Craft) -> Figure:
    """Draws a row per concept: its importance, its most typical crops, and where it is in two pictures."""
    k, crops, photos = min(len(result.concepts), LINES), result.crops.shape[1], min(2, len(result.photographs))
    title = f"What {result.target[:60]} is made of at {result.layer}, by {result.model}"
    figure = canvas.page((crops + photos + 1.6) * CROP_IN, k * (CROP_IN + 0.2), title, fill(result.verdict, 110, max_lines=2))
    panels = canvas.panels(figure, k, crops + photos + 1)
    top = float(result.maps.max()) or 1.0
    for row in range(k):
        words = (
            f"{row}\n{float(result.importance[row]):.2f} ± {float(result.stderr[row]):.2f}\n{float(result.effect[row]):+.2g}"
        )
        panels[row, 0].text(0, 0.5, f"{words}\np = {float(result.p[row]):.2g}", va="center", fontsize=NOTE_PT, color=LIGHT.ink)
        for i in range(crops):
            canvas.image(panels[row, 1 + i], result.crops[row, i])
        for i, photo in enumerate(result.maps[:, row].sum((1, 2)).argsort(descending=True)[:photos].tolist()):
            place = panels[row, 1 + crops + i]
            canvas.image(place, over_photo(result.photographs[photo], result.maps[photo, row], "positive", top))
    canvas.heading(panels[0, 0], "importance,\neffect")
    canvas.heading(panels[0, 1], "most typical crops")
    canvas.heading(panels[0, 1 + crops], "where it is")
    return figure
