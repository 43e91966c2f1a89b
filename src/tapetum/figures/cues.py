"""Draws which cue a network answers: decisions by category of the shape, and the ranks of both cues over all classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure
from tapetum.types import ShapeTexture

WIDTH_IN, ROW_IN = 8.6, 0.23
COLORS = {"shape": LIGHT.accent, "texture": LIGHT.caution, "neither": LIGHT.line}


@draw.register
def _(result: ShapeTexture) -> Figure:
    """Draws a bar of decisions per category of the shape; beside it, how high both cues rank on each share of the pictures."""
    n = len(result.by_category)
    percent = [f"{100 * one:.0f}" for one in (result.bias, *result.interval, result.rank_bias, *result.rank_interval)]
    words = (
        f"{len(result.pictures)} pictures · shape bias {percent[0]} % (95 %: {percent[1]} to {percent[2]} %), the triangle · "
    )
    words += f"shape ranks better on {percent[3]} % ({percent[4]} to {percent[5]} %)"
    title = f"Shape or texture: which does {result.model or 'the network'} answer?"
    figure = canvas.page(WIDTH_IN, max(n * ROW_IN, 1.6) + 0.85, title, words)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    _decisions(left, result)
    _ranks(right, result)
    return figure


def _decisions(axes: Any, result: ShapeTexture) -> None:
    """Draws the shares of decisions by shape, by neither and by texture, one bar per category."""
    rows = result.by_category
    for y, counts in enumerate(rows.values()):
        total, left = sum(counts.values()), 0.0
        for name in ("shape", "neither", "texture"):
            share = counts[name] / total
            axes.barh(y, share, left=left, height=0.72, color=COLORS[name])
            left += share
    named = [f"{name}  {sum(counts.values())}" for name, counts in rows.items()]
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), xticks=(0, 0.5, 1))
    axes.set_xticklabels(["0", "50 %", "100 %"])
    canvas.plot(axes, "share of the pictures with this shape (beside its name: how many)", "")
    axes.grid(visible=False)
    canvas.rows(axes, named)
    if result.bias == result.bias:
        axes.plot([result.bias], [-0.5], "v", color=LIGHT.ink, markersize=6, clip_on=False)
    handles = [axes.barh([0], [0], color=COLORS[name]) for name in COLORS]
    labels = [f"by {name}: {result.counts[name]}" for name in COLORS]
    axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, fontsize=NOTE_PT, frameon=False)


def _ranks(axes: Any, result: ShapeTexture) -> None:
    """Draws for each cue on which share of the pictures its best class is among the first k."""
    n = len(result.pictures)
    for name, ranks, style in (("shape", result.shape_rank, "-"), ("texture", result.texture_rank, "--")):
        values = np.sort(ranks.cpu().numpy())
        steps = np.concatenate([values, [result.classes]]), np.concatenate([np.arange(1, n + 1), [n]]) / n
        axes.step(
            *steps, where="post", color=COLORS[name], linestyle=style, linewidth=1.8, label=f"{name}, best of its classes"
        )
    axes.set_xscale("log")
    axes.set(xlim=(1, result.classes), ylim=(0, 1.02), yticks=(0, 0.5, 1))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_yticklabels(["0", "50 %", "100 %"])
    axes.legend(fontsize=NOTE_PT, frameon=False, loc="upper left")
    canvas.plot(axes, f"first k of the {result.classes} classes", "share of the pictures with the cue there")
