"""Draws results of metrics: curves, parts of the picture against their effect, or one number per image."""

from __future__ import annotations

from typing import Any

from tapetum.figures import canvas
from tapetum.figures.draw import MAX_ROWS, draw
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure
from tapetum.figures.words import some
from tapetum.types import Evaluation
from tapetum.types.outcomes import REASONS

MOST_BARS = 24
BAR_IN = 0.26


@draw.register
def _(result: Evaluation) -> Figure:
    """Draws the curve of each image; what a map gives to the parts against their effect; or a bar per image."""
    if result.curve.numel():
        return _curves(result)
    pairs = {"attributed", "drop"} <= set(result.parts)
    return _pairs(result) if pairs and result.parts["drop"].shape[1] > 1 else _bars(result)


def _page(result: Evaluation, height_in: float, shown: int) -> Figure:
    title = f"{result.metric.replace('_', ' ').capitalize()}{some(shown, len(result))}"
    return canvas.page(6.4, height_in, title, f"{result.better} is better · {result.words}")


def _curves(result: Evaluation) -> Figure:
    n = min(len(result), MAX_ROWS)
    figure = _page(result, 3.2, n)
    axes = figure.subplots()
    fraction = result.fraction.cpu().numpy()
    for curve in result.curve[:n].cpu().numpy():
        axes.fill_between(fraction, curve, color=LIGHT.accent, alpha=0.18 / n, linewidth=0)
        axes.plot(fraction, curve, color=LIGHT.accent, linewidth=1.6, alpha=1 if n == 1 else 0.6)
    axes.set(xlim=(0, 1))
    if result.measures == "probability":
        axes.set(ylim=(0, 1))
    canvas.plot(axes, "share of the pixels changed", f"{result.measures} of the target")
    return figure


def _pairs(result: Evaluation) -> Figure:
    """Draws a point for each part that was hidden: what the map gives to it, and how far the score fell."""
    n = min(len(result), MAX_ROWS)
    figure = _page(result, 3.4, n)
    axes = figure.subplots()
    attributed, drop = (result.parts[name][:n].double().cpu() for name in ("attributed", "drop"))
    for row in range(n):
        largest = attributed[row].abs().max().clamp(min=1e-30)
        axes.scatter(attributed[row] / largest, drop[row], s=12, color=LIGHT.accent, alpha=0.8 if n == 1 else 0.4, linewidths=0)
    canvas.plot(axes, "what the map gives to a part (its largest magnitude: 1)", "how far the score falls without the part")
    return figure


def _bars(result: Evaluation) -> Figure:
    """Draws a bar per image; a reason in words where there is no number."""
    n = min(len(result), MOST_BARS)
    figure = _page(result, BAR_IN * n + 0.5, n)
    axes = figure.subplots()
    for row, value in enumerate(result.value[:n].double().cpu().tolist()):
        known = value == value
        axes.barh(row, value if known else 0, height=0.6, color=LIGHT.accent)
        words = (
            f" {value:.3g}" if known else f" {REASONS.get(result.status[row], 'no number') if result.status else 'no number'}"
        )
        axes.text(max(value, 0) if known else 0, row, words, va="center", fontsize=NOTE_PT, color=LIGHT.muted)
    axes.set(xlim=_span(result), ylim=(n - 0.4, -0.6))
    axes.set_yticks(range(n), [f"image {row + 1}" for row in range(n)], fontsize=LABEL_PT)
    canvas.plot(axes, result.metric.replace("_", " "), "")
    axes.grid(visible=False, axis="y")
    return figure


def _span(result: Evaluation) -> tuple[Any, Any]:
    """Returns the limits of the axis: the metric's own, widened to the numbers where it has none."""
    values = result.value[~result.value.isnan()].double()
    least, most = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    low, high = result.limits
    low = min(0.0, least) if low is None else low
    high = max(0.0, most) or 1.0 if high is None else high
    return low, high + 0.22 * (high - low)
