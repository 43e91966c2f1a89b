"""Draws the answers to five questions: curves over the depth of a network, beside those of networks with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure
from tapetum.types import Answer, DepthCurve, FiveAnswers

CHART_IN, ACROSS = (3.5, 2.15), 3
PICTURE_IN = 1.55
LETTERS = 15
ENDS = {"pixels": 0, "answer": 2}
"""Depths before and behind all layers."""


@draw.register
def _(result: DepthCurve) -> Figure:
    """Draws one number over the depth of the network."""
    return chart_of(result.panel, [result])


@draw.register
def _(result: Answer) -> Figure:
    """Draws a chart per number, side by side, and the inversions below; the answer in words is under the charts."""
    n, shown = max(len(result.panels), 1), result.pictures is not None
    width = max(n * CHART_IN[0], 2 * CHART_IN[0])
    figure = canvas.page(width, CHART_IN[1] + 0.55 + shown * (PICTURE_IN + 0.4), result.question, SUBTITLE)
    parts: Any = figure.subfigures(
        1 + shown, 1, height_ratios=[CHART_IN[1] + 0.5, PICTURE_IN + 0.4][: 1 + shown], squeeze=False
    )
    _charts(parts[0, 0], result, n)
    if shown:
        _pictures(parts[1, 0], result)
    canvas.footnotes(figure, [result.sentence, *(f"left out: {one}" for one in result.left_out)])
    return figure


SUBTITLE = "line and band: this network, 95 % · dashed: networks with random weights, band: where another one would lie"


@draw.register
def _(result: FiveAnswers) -> Figure:
    """Draws all charts, a row per question."""
    title = f"Five questions about {result.model or 'a network'}, {result.pictures} pictures"
    figure = canvas.page(ACROSS * CHART_IN[0], len(result.answers) * (CHART_IN[1] + 0.75), title, SUBTITLE)
    rows: Any = figure.subfigures(len(result.answers), 1, squeeze=False)
    for part, answer in zip(rows[:, 0], result.answers, strict=True):
        part.suptitle(answer.question, x=0.01, ha="left", fontsize=LABEL_PT + 1, color=LIGHT.ink, weight="bold")
        _charts(part, answer, ACROSS)
    return figure


def chart_of(panel: str, curves: Sequence[DepthCurve]) -> Figure:
    """Returns a page with one chart of some curves."""
    from tapetum.figures.page import Page

    figure = Page(*CHART_IN, panel, 1.0)
    _chart(figure.subplots(), curves)
    return figure


def charts(answer: Answer) -> dict[str, Figure]:
    """Returns {title: a page with this chart alone} of an answer."""
    return {panel: chart_of(panel, [one for one in answer.curves if one.panel == panel]) for panel in answer.panels}


def _charts(part: Any, answer: Answer, across: int) -> None:
    part.set_facecolor(LIGHT.card)
    panels = canvas.panels(part, 1, across)
    for axes, panel in zip(panels[0], answer.panels, strict=False):
        axes.set_axis_on()
        canvas.heading(axes, panel)
        _chart(axes, [curve for curve in answer.curves if curve.panel == panel])


def _chart(axes: Any, curves: Sequence[DepthCurve]) -> None:
    """Draws curves over the union of their depths, each with its band."""
    depths = sorted(dict.fromkeys(layer for curve in curves for layer in curve.layers), key=lambda name: ENDS.get(name, 1))
    for curve, color, style in zip(curves, (LIGHT.accent, LIGHT.caution, LIGHT.muted), ("-", "--", ":"), strict=False):
        places = [depths.index(layer) for layer in curve.layers]
        low, values, high = (one.numpy() for one in (curve.low, curve.values, curve.high))
        axes.plot(places, values, style, color=color, marker="o", markersize=3.5, linewidth=1.6, label=curve.name)
        axes.fill_between(places, low, high, color=color, alpha=0.16, linewidth=0)
    top = max((float(curve.values.nan_to_num(nan=0).max()) for curve in curves), default=1.0)
    axes.set_ylim(-0.04 if top <= 1.05 else 0, 1.04 if top <= 1.05 else None)
    canvas.plot(axes, "", "")
    axes.set_xticks(range(len(depths)), [_short(name) for name in depths], rotation=30, ha="right", rotation_mode="anchor")
    axes.legend(fontsize=NOTE_PT, frameon=False, loc="best", handlelength=1.6, labelspacing=0.3)


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else f"...{name[3 - LETTERS :]}"


def _pictures(part: Any, answer: Answer) -> None:
    assert answer.pictures is not None
    part.set_facecolor(LIGHT.card)
    panels = canvas.panels(part, 1, len(answer.pictures))
    for axes, pixels, caption in zip(panels[0], answer.pictures, answer.captions, strict=True):
        canvas.image(axes, pixels, caption)
