"""Draws a ranking of methods: mean ranks with what cannot be told apart, and track records as calibration curves."""

from __future__ import annotations

from math import ceil, isfinite
from typing import Any, Literal

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure
from tapetum.types import MethodRanking, TapetumError
from tapetum.types.checks import listed

WIDTH_IN, ROW_IN = 5.6, 0.27
ACROSS, SIDE_IN, MOST = 3, 1.9, 12


@draw.register
def _(result: MethodRanking, view: Literal["ranks", "record"] = "ranks") -> Figure:
    """Draws each method's mean rank by each metric; with view="record", what its maps predicted and what came."""
    if view == "record":
        return _record(result)
    if view != "ranks":
        raise TapetumError(f'a ranking is shown as view="ranks" or "record", not {view!r}')
    n, k = len(result.methods), len(result.metrics)
    words = "bars that overlap cannot be told apart (Nemenyi, 5 %)\nblack: as good as the best, as far as these pictures tell"
    title = f"{n} methods on {len(result.pictures)} pictures by {k} metric{'s' * (k > 1)}"
    figure = canvas.page(WIDTH_IN, k * (n * ROW_IN + 0.85), title, words)
    for axes, metric in zip(figure.subplots(k, 1, squeeze=False)[:, 0], result.metrics, strict=True):
        _ranks(axes, result, metric)
    return figure


def _ranks(axes: Any, result: MethodRanking, metric: str) -> None:
    """Draws the mean ranks by one metric, the best above: a dot, and a bar of the critical difference around it."""
    column, order = result.metrics.index(metric), result.order(metric)
    best = result.methods[order[0]]
    half = result.critical[column] / 2 if isfinite(result.critical[column]) else len(order)
    tied = {best, *result.tied(metric, best)}
    for y, i in enumerate(order):
        rank, color = float(result.ranks[i, column]), LIGHT.ink if result.methods[i] in tied else LIGHT.caution
        axes.plot([rank - half, rank + half], [y, y], color=color, linewidth=5, alpha=0.22, solid_capstyle="butt")
        axes.plot([rank], [y], "o", color=color, markersize=5)
    numbers = [f"{float(result.mean[i, column]):+.2f}" for i in order]
    names = [f"{result.methods[i]}  {number}" for i, number in zip(order, numbers, strict=True)]
    axes.set(ylim=(len(order) - 0.5, -0.5), xlim=(0.5, len(order) + 0.5))
    canvas.heading(axes, f"{metric}: {result.better[column]} is better; {result.counted[column]} pictures")
    canvas.plot(axes, "mean rank (1 is the best); beside each name: its mean", "")
    canvas.rows(axes, names)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _record(result: MethodRanking) -> Figure:
    """Draws a panel per method, the best record first: the drop of the probability that came, by the predicted one."""
    order = listed(result.true.nan_to_num(nan=-1).argsort(descending=True, stable=True))[:MOST]
    across = min(ACROSS, len(order))
    rows = ceil(len(order) / across)
    words = "hide a map's highest places: by how much the probability falls, predicted by the map and measured\n"
    words += "on the line: they come true; bars: 95 %; no point from fewer than five pictures"
    width = max(WIDTH_IN, across * SIDE_IN + 0.4)
    figure = canvas.page(width, rows * (SIDE_IN + 0.3), "Do maps keep what they promise?", words)
    panels = canvas.panels(figure, rows, across)
    for axes, i in zip(panels.flat, order, strict=False):
        axes.set_axis_on()
        _calibration(axes, result, i)
    return figure


def _calibration(axes: Any, result: MethodRanking, i: int) -> None:
    predicted, measured, low, high = result.calibration[i].T.numpy()
    axes.plot([0, 1], [0, 1], "--", color=LIGHT.line, linewidth=1)
    axes.vlines(predicted, low, high, color=LIGHT.accent, linewidth=1.6, alpha=0.5)
    axes.plot(predicted, measured, "-o", color=LIGHT.accent, linewidth=1.4, markersize=4)
    axes.set(xlim=(0, 1), ylim=(-0.15, 1), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    true = float(result.true[i])
    share = "no prediction" if true != true else f"{true:.0%} came true"
    canvas.heading(axes, f"{result.methods[i]}\n{share}")
    canvas.plot(axes, "predicted", "measured")
    axes.xaxis.label.set_size(NOTE_PT)
    axes.yaxis.label.set_size(NOTE_PT)
