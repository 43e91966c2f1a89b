"""Draws attacks: each picture before and after, the change between them, and how many answers change by budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tapetum.data.planes import viewable
from tapetum.engines.shares import wilson
from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LIGHT, Figure
from tapetum.figures.words import some
from tapetum.types import Attack
from tapetum.types.attacks import LEVELS, budget_in_words

MAX_ROWS = 5
SIDE_IN = 2.1
CHART_IN = 2.6


@draw.register
def _(result: Attack) -> Figure:
    """Draws one row per image: clean, the change, attacked; below, the share of images reached by budget, if several."""
    rows, curve = min(len(result), MAX_ROWS), len(result.eps) > 1
    height = rows * (SIDE_IN + 0.42)
    title = f"{result.method} of {result.model or 'a model'}{some(rows, len(result))}"
    figure = canvas.page(3 * SIDE_IN + 0.4, height + curve * CHART_IN, title, _summary(result))
    grid = figure.add_gridspec(rows + curve, 3, height_ratios=[SIDE_IN + 0.42] * rows + [CHART_IN] * curve)
    for row in range(rows):
        _row([figure.add_subplot(grid[row, i]) for i in range(3)], result, row)
    if curve:
        _curve(figure.add_subplot(grid[rows, :]), result)
    return figure


def _summary(result: Attack) -> str:
    done, n = int(result.success.sum()), len(result)
    to = "the aim" if any(result.aim) else "another class"
    kept = int(result.in_8_bits.sum())
    return f"{budget_in_words(result.eps[-1], result.norm)} · {done} of {n} reached {to} · {kept} also when saved in 8 bits"


def _row(axes: Sequence[Any], result: Attack, row: int) -> None:
    before, after = result.confidence[row].tolist()
    change, fold = change_picture(result.clean[row], result.pixels[row])
    canvas.image(axes[0], viewable(result.clean[row][None])[0], "clean", note=f"{result.before[row]}, p = {before:.2f}")
    canvas.image(axes[1], change, f"change × {fold:g}, grey: none", note=f"length {float(result.length[row]):.3g}")
    canvas.image(axes[2], viewable(result.pixels[row][None])[0], "attacked", note=f"{result.labels[row]}, p = {after:.2f}")


def change_picture(clean: Tensor, changed: Tensor, fold: float | None = None) -> tuple[Tensor, float]:
    """Returns grey + fold * change (3, h, w), and the fold, a whole number where the change is small; grey means no change.

    Without `fold` the largest change reaches black or white.
    """
    change = (changed - clean).detach().float().cpu()
    if fold is None:
        largest = float(change.abs().max())
        fold = 1.0 if largest == 0 else 0.5 / largest
        fold = float(int(fold)) if fold >= 2 else round(fold, 2)
    return viewable((0.5 + fold * change).clamp(0, 1)[None])[0], fold


def _curve(axes: Any, result: Attack) -> None:
    """Draws the share of images reached against the budget, with 95 % intervals (Wilson)."""
    scale = LEVELS if result.norm == "inf" else 1
    places = [scale * eps for eps in result.eps if eps is not None]
    low, high = wilson(result.reached.sum(0).double().cpu() / len(result), len(result))
    axes.plot(places, result.rate.cpu().numpy(), color=LIGHT.accent, linewidth=1.5, marker="o", markersize=3)
    axes.fill_between(places, low.numpy(), high.numpy(), color=LIGHT.accent, alpha=0.15, linewidth=0)
    unit = f"largest change of a value, in 1/{LEVELS}" if result.norm == "inf" else "length of the change"
    canvas.plot(axes, unit, "share of images")
    axes.set_ylim(-0.03, 1.03)
    aim = "Answers that reach the aim" if any(result.aim) else "Answers that change"
    canvas.heading(axes, f"{aim}, of {len(result)} images; band: 95 % interval")
