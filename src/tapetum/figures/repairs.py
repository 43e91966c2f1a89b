"""Draws how many units of each layer bring an attacked answer back."""

from __future__ import annotations

from typing import Any

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure
from tapetum.types import ShortestRepair


@draw.register
def _(result: ShortestRepair) -> Figure:
    """Draws a row per layer and a dot per image: the share of the layer's units that the repair needs; beside it, chance."""
    n, repaired = len(result), int((result.counts > 0).any(1).sum())
    title = f"How many units bring the answer back: {result.model or 'a model'}"
    one = f"{result.answers[0]}, attacked: {result.attacked[0]}"
    said = one if n == 1 else f"{repaired} of {n} images repaired; one dot per image, the line is their median"
    subtitle = f"{said}\nby chance: random sets of as many units that bring it back, too"
    figure = canvas.page(7.2, 0.45 * len(result.layers) + 0.8, title, subtitle)
    axes = figure.subplots()
    for i in range(len(result.layers)):
        _row(axes, result, i)
    axes.set_yticks(range(len(result.layers)), result.layers)
    axes.set_xlim(0, 1)
    axes.set_ylim(len(result.layers) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    canvas.plot(axes, "units that are needed, share of the layer's", "")
    axes.grid(axis="y", visible=False)
    return figure


def _row(axes: Any, result: ShortestRepair, i: int) -> None:
    counts, of = result.counts[:, i].double().cpu(), max(result.channels[i], 1)
    known, broken = counts[counts > 0], int((counts != 0).sum())
    axes.barh(i, 1, height=0.55, color=LIGHT.wash)
    for k, share in enumerate((known / of).sort().values.tolist()):
        place = i + 0.4 * ((k + 0.5) / len(known) - 0.5)
        axes.scatter([share], [place], s=16, color=LIGHT.accent, alpha=0.7, linewidth=0)
    said = "no repair" if broken else "nothing to repair"
    if len(known):
        middle, chance = float(known.quantile(0.5)), float(result.random[:, i].nanmean())
        axes.plot([middle / of] * 2, [i - 0.28, i + 0.28], color=LIGHT.ink, linewidth=1.5)
        some = "" if len(known) == broken else f", {len(known)} of {broken} images"
        said = f"{middle:g} of {of}{some}; by chance {chance:.1%}"
    axes.text(1.02, i, said, transform=axes.get_yaxis_transform(), fontsize=NOTE_PT, color=LIGHT.muted, va="center")
