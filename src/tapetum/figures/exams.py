"""Draws the marks of an exam: one row per method or metric, one column per network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure, as_pixel
from tapetum.types import MethodExam, MetricExam

ROW_IN, CELL_IN, NAME_IN = 0.22, 0.92, 2.3


@draw.register
def _(result: MethodExam) -> Figure:
    """Draws the share of pictures where each method finds the truth; a passed network is filled, a refusal empty."""
    title = "Which methods find a truth that is known"
    words = f"in how many of {result.n_pictures} pictures, and the share of the map on the truth\nfilled: passed; -: refused"
    cells = [[_of(found, result.n_pictures, mass) for found, mass in zip(*row, strict=True)] for row in
             zip(result.found.tolist(), result.mass.tolist(), strict=True)]  # fmt: skip
    return _marks(title, words, result.methods, result.networks, cells, result.passed)


@draw.register
def _(result: MetricExam) -> Figure:
    """Draws in how many pictures each metric prefers the truth; the name of a metric that passed all networks is bold."""
    title = "Which metrics know a true map from wrong ones"
    words = f"in how many of {result.n_pictures} pictures the true map wins, and the share of random maps that lose\n"
    cells = [[_of(wins, result.n_pictures, loses) for wins, loses in zip(*row, strict=True)] for row in
             zip(result.wins.tolist(), result.loses.tolist(), strict=True)]  # fmt: skip
    return _marks(title, f"{words}filled: passed; -: refused", result.metrics, result.networks, cells, result.each)


def _of(share: float, n: int, second: float) -> str:
    return "-" if share != share else f"{round(share * n)}   {second:.2f}"


def _marks(
    title: str, words: str, names: Sequence[str], networks: Sequence[str], cells: Sequence[Sequence[str]], passed: Tensor
) -> Figure:
    figure = canvas.page(NAME_IN + CELL_IN * len(networks), ROW_IN * len(names) + 0.35, title, words)
    axes: Any = figure.subplots()
    ground = torch.where(passed[None], as_pixel(LIGHT.wash), as_pixel(LIGHT.card))
    canvas.image(axes, ground, smooth=False)
    axes.set_aspect("auto")
    for y, row in enumerate(cells):
        for x, text in enumerate(row):
            color = LIGHT.ink if bool(passed[y, x]) else LIGHT.muted
            axes.text(x, y, text, ha="center", va="center", fontsize=NOTE_PT, color=color)
    axes.set_xticks(range(len(networks)), networks)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelsize=NOTE_PT, colors=LIGHT.ink, length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    for edge in range(1, len(names)):
        axes.axhline(edge - 0.5, color=LIGHT.line, linewidth=0.5)
    return figure
