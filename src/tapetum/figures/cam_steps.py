"""Draws Grad-CAM step by step: one row per channel, one block of columns per class, numbers in cells where they fit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tapetum.data.preprocessing import LUMA
from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.overlay import colorize, limit, overlay, signs, with_words
from tapetum.figures.theme import DIVERGING, LIGHT, TITLE_PT, Figure
from tapetum.figures.words import WORDS, grid, shorten, some
from tapetum.types import GradCamSteps, Reduce

CELL_IN = 1.42
BLOCK = 3  # columns of panels for one target
MOST_CHANNELS, MOST_TARGETS, MOST_IMAGES = 6, 3, 3
NUMBERS = 4
"""Maps of up to this many cells per side have their numbers written into the cells."""


@draw.register
def _(result: GradCamSteps) -> Figure:
    """Draws one band per image: activations at the left, then a block per target with sum, ReLU and overlay below it."""
    n, k = min(len(result.targets), MOST_IMAGES), min(result.activations.shape[1], MOST_CHANNELS)
    m = min(result.weights.shape[1], MOST_TARGETS)
    rows, columns = k + 1 + (result.weights.shape[-1] > k), 1 + BLOCK * m
    left_out = some(n, len(result.targets)) + some(m, result.weights.shape[1], "classes")
    title = f"Grad-CAM step by step: {result.layer}{left_out}"
    figure = canvas.page(columns * CELL_IN + 0.4, n * (rows * (CELL_IN + 0.1) + 0.3), title, _subtitle(result))
    panels = canvas.panels(figure, n * rows, columns)
    for row in range(n):
        band = panels[row * rows : (row + 1) * rows]
        _activations(result, row, band[:, 0], k)
        for column in range(m):
            first = 1 + BLOCK * column
            block = band[:, first : first + BLOCK]
            _channels(result, row, column, block, k)
            _end(result, row, column, block[k:])
    return figure


def _subtitle(result: GradCamSteps) -> str:
    scale = ", both on one scale" if result.weights.shape[1] > 1 else ""
    parts = [f"{result.weights.shape[-1]} channels of {grid(result.total.shape)} cells", f"red: for, blue: against{scale}"]
    if result.difference is not None:
        parts.append(f"grad_cam's map to {float(result.difference.max()):.0e}")
    return " · ".join(parts)


# --- the parts of a band


def _activations(result: GradCamSteps, row: int, column: Any, k: int) -> None:
    """Draws the activations, which are the same for every target, and the photograph below them."""
    kind = signs(result.activations)
    for i in range(k):
        name = f"channel {int(result.channels[row, i])}"
        title = f"\n{name}" if i else f"activation A\n{name}"
        _map(column[i], result.activations[row, i], title, kind=kind, top=limit(result.activations[row]))
    if result.photographs is not None:
        canvas.image(column[-1], result.photographs[row], "what the model saw")


def _channels(result: GradCamSteps, row: int, column: int, block: Any, k: int) -> None:
    """Draws one row per channel: the gradient, its mean (the channel's weight), and weight times activation.

    Where weights were given by hand: the weight, weight times activation, and the sum so far.
    """
    weighted = result.weighted[row, column]
    top = limit(result.weighted[row])
    head = shorten(result.targets[row][column], 34)
    for i in range(k):
        weight = float(result.strengths[row, column, i])
        if result.gradients is not None:
            _map(block[i, 0], result.gradients[row, column, i], f"{head}\ngradient dS/dA" if i == 0 else "", kind="sum")
            _number(block[i, 1], weight, "\nits mean a" if i == 0 else "")
            _map(block[i, 2], weighted[i], "\na × A" if i == 0 else "", kind="sum", top=top)
        else:
            _number(block[i, 0], weight, f"{head}\nweight a" if i == 0 else "")
            _map(block[i, 1], weighted[i], "\na × A" if i == 0 else "", kind="sum", top=top)
            so_far = weighted[: i + 1].sum(0)
            _map(block[i, 2], so_far, "\nsum so far" if i == 0 else "", kind="sum", top=limit(result.total[row]))


def _end(result: GradCamSteps, row: int, column: int, block: Any) -> None:
    """Draws the sum of the channels not shown; then the total, its ReLU, and the heatmap at the size of the image."""
    total, top = result.total[row, column], limit(result.total[row])
    if len(block) > 1:
        others = result.weights.shape[-1] - min(result.activations.shape[1], MOST_CHANNELS)
        hidden = total - result.weighted[row, column, :MOST_CHANNELS].sum(0)
        _map(block[0, 2], hidden, f"{others} others", kind="sum", top=top)
    _map(block[-1, 0], total, "sum of all", kind="sum", top=top)
    _map(block[-1, 1], result.positive[row, column], "ReLU", kind="positive", top=top)
    _overlay(result, row, column, block[-1, 2], top)


def _overlay(result: GradCamSteps, row: int, column: int, axes: Any, top: float) -> None:
    heatmap = result.heatmap[row, column].float().cpu()
    if not bool((heatmap > 0).any()):
        photo = torch.full((3, 224, 224), 0.5) if result.photographs is None else result.photographs[row]
        canvas.image(axes, with_words(photo, WORDS["no_positive_evidence"]), "upsampled")
    elif result.photographs is None:
        canvas.image(axes, colorize(heatmap, "positive", top), "upsampled", smooth=False)
    else:
        canvas.image(axes, overlay(result.photographs[row], heatmap, "positive", top=top), "upsampled")


# --- panels


def _map(axes: Any, values: Tensor, title: str, *, kind: Reduce, top: float | None = None) -> None:
    """Draws a map in cells with its range below; its numbers are in the cells where there is room for them."""
    colors = colorize(values, kind, top)
    canvas.image(axes, colors, title, smooth=False)
    low, high = float(values.min()), float(values.max())
    if max(values.shape) > NUMBERS:
        canvas.below(axes, f"{low + 0.0:.2g} to {high + 0.0:.2g}")
        return
    canvas.numbers(axes, values + 0.0, ".3g", torch.einsum("c,chw->hw", torch.tensor(LUMA), colors))  # + 0.0 turns -0 into 0


def _number(axes: Any, value: float, title: str) -> None:
    """Writes a weight as a number, red if positive, blue if negative."""
    axes.set_axis_on()
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=[], yticks=[], aspect=1, anchor="W")
    axes.spines[:].set_visible(False)
    color = DIVERGING[-1] if value > 0 else DIVERGING[0] if value < 0 else LIGHT.muted
    axes.text(0.5, 0.5, f"{value:+.3g}", ha="center", va="center", fontsize=TITLE_PT, color=color, weight="bold")
    canvas.heading(axes, title)
