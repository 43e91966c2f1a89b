"""Draws attacks: each picture before and after, the change between them, and how many answers change by budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tapetum.data.planes import viewable
from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure
from tapetum.figures.words import some
from tapetum.types import Attack
from tapetum.types.attacks import LEVELS, budget_in_words

MAX_ROWS = 5
SIDE_IN = 2.1
CHART_IN = 2.6
COLORS = (LIGHT.accent, LIGHT.muted, LIGHT.caution, LIGHT.ink)
Z = 1.96  # of a 95 % interval


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
        curves(figure.add_subplot(grid[rows, :]), [result])
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


def curves(axes: Any, attacks: Sequence[Attack]) -> None:
    """Draws the share of images reached against the budget, one line per attack, with 95 % intervals (Wilson)."""
    for i, one in enumerate(attacks):
        scale = LEVELS if one.norm == "inf" else 1
        places = [scale * eps for eps in one.eps if eps is not None]
        low, high = wilson(one.reached.sum(0).double().cpu(), len(one))
        color = COLORS[i % len(COLORS)]
        axes.plot(places, one.rate.cpu().numpy(), color=color, linewidth=1.5, marker="o", markersize=3, label=one.method)
        axes.fill_between(places, low.numpy(), high.numpy(), color=color, alpha=0.15, linewidth=0)
    of = {one.norm for one in attacks}
    unit = f"largest change of a value, in 1/{LEVELS}" if of == {"inf"} else "length of the change"
    canvas.plot(axes, unit, "share of images reached")
    axes.set_ylim(-0.03, 1.03)
    canvas.heading(axes, f"Answers that change, {len(attacks[0])} images, 95 % intervals")
    if len(attacks) > 1:
        axes.legend(fontsize=NOTE_PT, frameon=False, loc="best")
    axes.xaxis.label.set_fontsize(LABEL_PT)


def wilson(done: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Returns the ends of Wilson's 95 % interval of shares done / n."""
    share, z = done / n, Z**2 / n
    middle, half = share + z / 2, Z * torch.sqrt(share * (1 - share) / n + z / (4 * n))
    return (middle - half) / (1 + z), (middle + half) / (1 + z)
