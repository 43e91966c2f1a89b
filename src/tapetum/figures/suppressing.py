"""Draws what an edit that suppresses a cue did: the cue's pull, the accuracy of each class, and the edits that were tried."""

from __future__ import annotations

from typing import Any

import torch

from tapetum.families.audits.repairs import BEARABLE, ENOUGH, Repair
from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure
from tapetum.figures.words import some
from tapetum.types import CUE_WORDS
from tapetum.types.checks import listed

MOST_CLASSES = 12
"""Classes that are drawn, those that lose most first."""


@draw.register
def _(result: Repair) -> Figure:
    """Draws the pull before and after, accuracies of the classes with the worst first, and all edits that were tried."""
    shown = _order(result)[:MOST_CLASSES]
    follows = ", ".join(result.labels)
    title = f"{result.patch.model}: {CUE_WORDS[result.kind]} ({result.kind}) no longer speaks for {follows}"
    if not result.reached:
        title = f"{result.patch.model}: {CUE_WORDS[result.kind]} ({result.kind}) still speaks for {follows}"
    subtitle = f"{result.words}; {result.patch.changed:,} weights{some(len(shown), len(_order(result)), 'classes')}"
    figure = canvas.page(10.5, max(2.4, 0.28 * len(shown) + 1.3), title, subtitle)
    axes: Any = figure.subplots(1, 3, gridspec_kw={"width_ratios": [0.8, 1.4, 1.3]})
    _pull(axes[0], result)
    _classes(axes[1], result, shown)
    _attempts(axes[2], result)
    return figure


def _order(result: Repair) -> list[int]:
    change = result.measured.accuracy[:, 1] - result.measured.accuracy[:, 0]
    return [i for i in listed(change.argsort(stable=True)) if int(result.measured.n[i])]


def _pull(axes: Any, result: Repair) -> None:
    """Bars of the pull before and after, with the interval; a ring where it was predicted."""
    before, after = (100 * one for one in listed(result.measured.pull))
    low, high = (100 * one for one in result.measured.interval)
    axes.bar([0, 1], [before, after], width=0.55, color=[LIGHT.line, LIGHT.accent])
    axes.plot([1, 1], [low, high], color=LIGHT.ink, linewidth=1.2)
    predicted = 100 * float(result.predicted.pull[1])
    axes.plot(1, predicted, "o", markersize=7, markerfacecolor="none", markeredgecolor=LIGHT.caution)
    for x, value in enumerate((before, after)):
        style = {"fontsize": NOTE_PT, "ha": "center", "color": LIGHT.ink}
        axes.annotate(f"{value:.1f}", (x, max(value, 0.0)), xytext=(12 * x, 4), textcoords="offset points", **style)
    axes.axhline(0, color=LIGHT.muted, linewidth=0.6)
    axes.axhline((1 - ENOUGH) * before, color=LIGHT.muted, linewidth=0.8, linestyle=":")
    axes.margins(y=0.14)
    canvas.heading(axes, "pull of the cue")
    canvas.plot(axes, "ring: predicted; dotted: a fifth", "points")
    axes.set_xticks([0, 1], ["before", "after"])
    axes.tick_params(axis="x", labelsize=NOTE_PT + 0.5)


def _classes(axes: Any, result: Repair, shown: list[int]) -> None:
    """A line per class from its accuracy before (small, grey) to that after; a ring where it was predicted."""
    for place, i in enumerate(shown):
        before, after = (100 * one for one in listed(result.measured.accuracy[i]))
        said = before + 100 * float(result.predicted.accuracy[i, 1] - result.predicted.accuracy[i, 0])
        axes.plot([before, after], [place, place], color=LIGHT.line, linewidth=2, zorder=1)
        axes.plot(before, place, "o", color=LIGHT.muted, markersize=4)
        axes.plot(after, place, "o", color=LIGHT.accent, markersize=6)
        ring = {"markerfacecolor": "none", "markeredgecolor": LIGHT.caution, "markersize": 9}
        axes.plot(min(max(said, 0.0), 100.0), place, "o", **ring)
    names = [result.classes[i] + (" (suspected)" if bool(result.own[i]) else "") for i in shown]
    canvas.heading(axes, "right answers to the pictures as they are")
    canvas.plot(axes, "%: grey before, green after, ring predicted", "")
    axes.set_yticks(range(len(shown)), names)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(-4, 104)


def _attempts(axes: Any, result: Repair) -> None:
    """All edits: share of the pull that goes, against what others gain or lose, or where all follow it what is right then."""
    every = bool(result.own.all())
    costs = torch.tensor([100 * (one.fair if every else one.others) for one in result.attempts])
    for one, cost in zip(result.attempts, listed(costs), strict=True):
        chosen = one.name == result.chosen
        color = LIGHT.accent if chosen else LIGHT.muted
        axes.plot(100 * one.fall, cost, "o", color=color, markersize=7 if chosen else 4, zorder=3 if chosen else 2)
        if chosen:
            place = {"xytext": (-8, 0), "textcoords": "offset points", "ha": "right", "va": "center", "zorder": 4}
            box = {"color": LIGHT.card, "pad": 1}
            axes.annotate(one.name, (100 * one.fall, cost), fontsize=NOTE_PT, color=LIGHT.ink, bbox=box, **place)
    axes.axvline(100 * ENOUGH, color=LIGHT.muted, linewidth=0.8, linestyle=":")
    if not every:
        axes.axhline(-100 * BEARABLE, color=LIGHT.muted, linewidth=0.8, linestyle=":")
    axes.margins(0.12, 0.15)
    canvas.heading(axes, f"{len(result.attempts)} edits, as predicted; wanted: upper right")
    canvas.plot(axes, "% of the pull that goes", "right whatever the cue, %" if every else "other classes, points")
