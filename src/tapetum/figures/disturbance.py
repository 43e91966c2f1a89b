"""Draws what an attack does inside a network: a strip from clean to attacked, and curves by layer beside noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tapetum.figures import canvas
from tapetum.figures.attacks import change_picture
from tapetum.figures.draw import draw
from tapetum.figures.overlay import over_photo
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure
from tapetum.figures.words import some
from tapetum.types import Disturbance, Reduce
from tapetum.types.attacks import LEVELS

MAX_IMAGES = 2
SIDE_IN = 1.75
CHART_IN = 2.5
KINDS: dict[str, Reduce] = {"saliency": "max_abs", "grad_cam": "positive"}
BARS = 10


@draw.register
def _(result: Disturbance) -> Figure:
    """Draws a strip per image: pictures, change and maps from clean to attacked; below, changes by layer, and top units."""
    n, t = min(len(result), MAX_IMAGES), len(result.shares)
    bands = 2 + len(result.maps)
    strips = n * (bands * SIDE_IN + 0.42)
    title = f"From clean to attacked: {result.model or 'a model'}{some(n, len(result))}"
    change = (
        f"largest change {LEVELS * float(result.largest[0]):.3g}/{LEVELS}" if n == 1 else "each column a share of the change"
    )
    subtitle = f"{change}; maps of each picture's own answer; below: beside random changes of the same size"
    width = max(t * (SIDE_IN + 0.08), 9.0)
    figure = canvas.page(width, strips + CHART_IN + 0.5, title, subtitle)
    parts: Any = figure.subfigures(2, 1, height_ratios=[strips, CHART_IN + 0.5])
    for part in parts:
        part.set_facecolor(LIGHT.card)
    panels = canvas.panels(parts[0], n * bands, t)
    for row in range(n):
        strip(panels[row * bands : (row + 1) * bands], result, row)
    _charts(parts[1].subplots(1, 3, width_ratios=[1, 1, 0.9]), result)
    return figure


def strip(panels: Any, result: Disturbance, row: int) -> None:
    """Draws one image's frames, one column each: the picture with its answer, the change, and a row per kind of map."""
    clean, fold = result.frames[row, 0], change_picture(result.frames[row, 0], result.frames[row, -1])[1]
    for i, share in enumerate(result.shares):
        frame = result.frames[row, i]
        note = f"{_short(result.answers[row][i])}, p = {float(result.confidence[row, i]):.2f}"
        canvas.image(panels[0, i], frame, {0.0: "clean", 1.0: "attacked"}.get(share, f"{share:.0%} of the change"), note=note)
        canvas.image(panels[1, i], change_picture(clean, frame, fold)[0], f"change × {fold:g}, grey: none" if i == 0 else "")
        for k, (name, maps) in enumerate(result.maps.items()):
            heatmap = maps[row, i]
            laid = over_photo(frame.float(), heatmap, KINDS.get(name, "sum"))
            canvas.image(panels[2 + k, i], laid, name.replace("_", " ") if i == 0 else "")


def _short(answer: str, most: int = 20) -> str:
    return answer if len(answer) <= most else f"{answer[: most - 3]}..."


def _charts(axes: Any, result: Disturbance) -> None:
    _by_layer(axes[0], result, result.change, result.noise, "relative change |a' - a| / |a|")
    _by_layer(axes[1], result, result.switched, result.switched_noise, "share of values that change sides of 0")
    _units(axes[2], result)
    axes[0].legend(fontsize=NOTE_PT, frameon=False, loc="upper left", handlelength=1.4)


def _by_layer(axes: Any, result: Disturbance, attack: Tensor, noise: Tensor, words: str) -> None:
    """Draws the attack's line and the noise's, means over images; the bands go from the least to the largest draw."""
    places = list(range(len(result.layers)))
    draws = noise.mean(0).cpu()
    axes.plot(places, attack.mean(0).cpu().numpy(), color=LIGHT.accent, linewidth=1.5, marker="o", markersize=3, label="attack")
    axes.plot(places, draws.mean(0).numpy(), color=LIGHT.caution, linewidth=1.5, marker="o", markersize=3, label="noise")
    axes.fill_between(places, draws.amin(0).numpy(), draws.amax(0).numpy(), color=LIGHT.caution, alpha=0.25, linewidth=0)
    canvas.heading(axes, words)
    canvas.plot(axes, "", "")
    step = max(1, len(places) // 8)
    axes.set_xticks(places[::step], result.layers[::step], rotation=35, ha="right", rotation_mode="anchor")
    axes.tick_params(labelsize=NOTE_PT)
    axes.set_ylim(bottom=0)


def _units(axes: Any, result: Disturbance) -> None:
    """Draws the units of the first image that change most beyond noise, as bars; the dot is the largest change by noise."""
    top = result.top_units(0, BARS)[::-1]
    places = torch.arange(len(top)).numpy()
    axes.barh(places, [one[2] for one in top], color=LIGHT.accent, height=0.6)
    axes.scatter([one[3] for one in top], places, color=LIGHT.caution, s=22, zorder=3, edgecolor=LIGHT.card, linewidth=0.8)
    axes.set_yticks(places, [f"{name}:{channel}" for name, channel, _, _ in top])
    canvas.heading(axes, "units that change most")
    canvas.plot(axes, "change / |a|; dots: most by noise", "")
    axes.tick_params(labelsize=NOTE_PT)
    axes.grid(axis="y", visible=False)
