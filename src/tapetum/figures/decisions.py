"""Draws decisions beside those that are usual for their class, and the usual ones with their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from tapetum.families.concept_tests.prototypes import Prototypes
from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure
from tapetum.figures.words import shorten, some
from tapetum.types import ClassPrototypes, Decisions
from tapetum.types.decisions import limit, percent

MOST, MOST_CLASSES, MOST_PICTURES = 8, 12, 4
WIDTH_IN, ROW_IN, PHOTO_IN = 10.2, 1.15, 1.1
DISTANCE = "distance to the nearest prototype, in usual spreads"


@draw.register
def _(result: Decisions) -> Figure:
    """Draws a row per decision, the least usual first: its picture, its place among held-out ones, what differs most."""
    rows = result.order()[:MOST]
    title = f"Unusual for their class: {sum(result.unusual)} of {len(result)} decisions of {result.model}"
    words = f"grey: held-out decisions of the class · dashed: unusual beyond here, p ≤ {result.level:g} · at {result.layer}"
    figure = canvas.page(WIDTH_IN, len(rows) * ROW_IN + 0.55, f"{title}{some(len(rows), len(result), 'shown')}", words)
    panels = figure.subplots(len(rows), 3, squeeze=False, width_ratios=[PHOTO_IN, 5.6, 2.6])
    far = [
        *(float(result.distances[row]) for row in rows),
        *(float(result.held_out(row).max()) for row in rows if known(result, row)),
    ]
    top = 1.08 * max((one for one in far if one == one), default=1.0)
    least, most = (float(one) for one in result.differences[rows].aminmax())
    for axes, row in zip(panels, rows, strict=True):
        _photo(axes[0], result.photographs[row])
        _place(axes[1], result, row, top)
        _channels(axes[2], result, row, (min(0.0, 1.05 * least), max(0.0, 1.05 * most)))
    last(panels[:, 1], DISTANCE)
    canvas.heading(panels[0, 2], "channels that differ most")
    last(panels[:, 2], "difference in usual spreads")
    return figure


def known(result: Decisions, row: int) -> bool:
    return float(result.p[row]) == float(result.p[row])


def last(column: Any, label: str) -> None:
    """Labels the lowest axes of a column; those above have no labels of their own."""
    for axes in column[:-1]:
        axes.tick_params(labelbottom=False)
    column[-1].set_xlabel(label, fontsize=LABEL_PT, color=LIGHT.muted)


def _photo(axes: Any, photograph: Tensor | None) -> None:
    axes.set_axis_off()
    if photograph is not None and photograph.numel():
        canvas.image(axes, photograph)


def _place(axes: Any, result: Decisions, row: int, top: float) -> None:
    """Draws the decision among the held-out ones of its class."""
    canvas.heading(axes, f"{shorten(result.names[row], 44)} · {shorten(result.labels[row], 30)}")
    _strip(axes, top)
    if not known(result, row):
        axes.text(0.01, 0.5, "too few decisions for this class were seen", transform=axes.transAxes, **NOTE)
        return
    unusual, distance, held = result.unusual[row], float(result.distances[row]), result.held_out(row)
    _crowd(axes, held, limit(held, result.level))
    axes.plot([distance], [0], "D", color=LIGHT.caution if unusual else LIGHT.accent, markersize=8, clip_on=False, zorder=4)
    axes.text(0.01, 0.94, result.words(row), transform=axes.transAxes, **{**NOTE, "va": "top", "color": LIGHT.ink})


NOTE: dict[str, Any] = {"fontsize": NOTE_PT, "color": LIGHT.muted, "va": "center", "ha": "left", "parse_math": False}


def _strip(axes: Any, top: float) -> None:
    canvas.plot(axes, "", "")
    axes.grid(visible=False)
    axes.set(xlim=(0, top), ylim=(-1, 1.4))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _crowd(axes: Any, distances: Tensor, end: float) -> None:
    """Draws held-out decisions as dots, shaken up and down so that each is seen, and where the unusual ones begin."""
    shaken = 0.9 * (np.modf(np.arange(len(distances)) * 0.618)[0] - 0.5)
    axes.scatter(distances.sort().values.numpy(), shaken, s=9, color=LIGHT.muted, alpha=0.55, linewidths=0)
    if end < float("inf"):
        axes.plot([end, end], [-1, 0.7], color=LIGHT.caution, linewidth=1, linestyle="--")


def _channels(axes: Any, result: Decisions, row: int, ends: tuple[float, float]) -> None:
    """Draws the channels that differ most as bars: right of zero the score rests on them more than usual."""
    canvas.plot(axes, "", "")
    axes.grid(visible=False)
    axes.axvline(0, color=LIGHT.line, linewidth=1)
    axes.set_xlim(ends if ends[0] < ends[1] else (-1, 1))
    if not known(result, row):
        axes.set_yticks([])
        return
    values = result.differences[row].tolist()
    axes.barh(range(len(values)), values, height=0.7, color=LIGHT.caution if result.unusual[row] else LIGHT.accent)
    axes.set_yticks(range(len(values)), [str(one) for one in result.channels[row].tolist()], fontsize=NOTE_PT)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.tick_params(axis="y", labelsize=NOTE_PT, colors=LIGHT.ink, length=0)


@draw.register
def _(result: ClassPrototypes) -> Figure:
    """Draws the prototypes of one class."""
    return _usual([result], f"Usual decisions for {result.label}", f"grey: {len(result.distances)} held-out decisions")


@draw.register
def _(result: Prototypes) -> Figure:
    """Draws a row per class: its most typical pictures, its held-out decisions, and where other classes' prototypes lie."""
    shown = sorted(result.classes, key=lambda one: -sum(one.sizes))[:MOST_CLASSES]
    more = some(len(shown), len(result.classes), "classes, those with the most decisions")
    words = f"grey: held-out decisions of the class · triangles: prototypes of the other classes\n{result.rate}"
    return _usual(shown, f"On what decisions of {result.model} at {result.layer} usually rest{more}", words)


def _usual(classes: Sequence[ClassPrototypes], title: str, words: str) -> Figure:
    most = min(MOST_PICTURES, max(len(one.photographs) for one in classes))
    width = WIDTH_IN - 3.0 + most * PHOTO_IN
    figure = canvas.page(width, len(classes) * ROW_IN + 0.55, title, words)
    panels = figure.subplots(len(classes), most + 1, squeeze=False, width_ratios=[*[PHOTO_IN] * most, 6.4])
    others = [[_nearest(one, other) for other in classes if other is not one] for one in classes]
    ends = [*(far for row in others for far, _ in row), *(float(one.distances.max()) for one in classes)]
    top = 1.08 * max(ends)
    for axes, one, far in zip(panels, classes, others, strict=True):
        for i in range(most):
            _photo(axes[i], one.photographs[i] if i < len(one.photographs) else None)
            if i < len(one.photographs) and len(one.sizes) > 1:
                canvas.below(axes[i], f"{one.sizes[i]} decisions")
        _class(axes[most], one, far, top)
    last(panels[:, most], DISTANCE)
    return figure


def _nearest(one: ClassPrototypes, other: ClassPrototypes) -> tuple[float, str]:
    """Returns how far the nearest prototype of another class lies from those of a class, in the class's own spreads."""
    return float(one.distance(other.centres)[0].min()), other.label


def _class(axes: Any, one: ClassPrototypes, others: Sequence[tuple[float, str]], top: float) -> None:
    learned = f"{sum(one.sizes)} decisions, {len(one.distances)} held out"
    told = (
        f" · {percent(one.power)} of decisions for other classes would be unusual"
        if others and one.limit < float("inf")
        else ""
    )
    canvas.heading(axes, f"{shorten(one.label, 36)} · {learned}{told}")
    _strip(axes, top)
    _crowd(axes, one.distances, one.limit)
    if others:
        axes.plot(
            [far for far, _ in others], [0] * len(others), "^", color=LIGHT.accent, markersize=6, fillstyle="none", zorder=3
        )
        far, name = min(others)
        axes.annotate(
            shorten(name, 24),
            (far, 0),
            xytext=(0, 8),
            textcoords="offset points",
            **{**NOTE, "ha": "center", "va": "bottom", "color": LIGHT.accent},
        )
    if one.limit == float("inf"):
        axes.text(
            0.995,
            0.94,
            "too few were held out for any to be unusual",
            transform=axes.transAxes,
            **{**NOTE, "va": "top", "ha": "right"},
        )
