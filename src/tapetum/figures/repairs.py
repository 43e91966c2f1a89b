"""Draws how many units of each layer bring an attacked answer back."""

from __future__ import annotations

from typing import Any

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure
from tapetum.types import ShortestRepair


@draw.register
def _(result: ShortestRepair) -> Figure:
    """Draws a dot per image and layer: the share of the layer's units that the repair needs; below, how often chance does."""
    n, repaired = len(result), int((result.counts > 0).any(1).sum())
    title = f"How many units bring the answer back: {result.model or 'a model'}"
    said = (
        f"{result.answers[0]}, attacked: {result.attacked[0]}" if n == 1 else f"{repaired} of {n} images repaired at some layer"
    )
    figure = canvas.page(max(5.4, 1.1 * len(result.layers) + 1.5), 3.4, title, said)
    axes = figure.subplots()
    _dots(axes, result)
    names = [
        f"{name}\nof {channels}\n{_chance(result, i)}"
        for i, (name, channels) in enumerate(zip(result.layers, result.channels, strict=True))
    ]
    axes.set_xticks(range(len(names)), names)
    axes.tick_params(labelsize=NOTE_PT)
    return figure


def _dots(axes: Any, result: ShortestRepair) -> None:
    for i in range(len(result.layers)):
        known = result.counts[:, i][result.counts[:, i] > 0].double().cpu()
        if len(known):
            spread = [i + 0.3 * ((k + 0.5) / len(known) - 0.5) for k in range(len(known))]
            axes.scatter(spread, known.sort().values.numpy(), s=12, color=LIGHT.accent, alpha=0.6, linewidth=0)
            middle = float(known.quantile(0.5))
            axes.plot([i - 0.25, i + 0.25], [middle, middle], color=LIGHT.ink, linewidth=1.5)
            axes.text(i + 0.28, middle, f"{middle:g}", fontsize=NOTE_PT, color=LIGHT.ink, va="center")
    canvas.heading(axes, "one dot per image, the line their median; chance: random sets of as many that repair")
    canvas.plot(axes, "", "units of the layer")
    axes.set_yscale("log", base=2)
    axes.set_xlim(-0.6, len(result.layers) - 0.2)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _chance(result: ShortestRepair, i: int) -> str:
    chance = float(result.random[:, i].nanmean())
    return "no repair" if chance != chance else f"chance {chance:.0%}"
