"""Draws results of training: curves, filters epoch by epoch, and pictures with the network's predictions."""

from __future__ import annotations

from math import ceil
from typing import Any, Literal

import torch
from torch import Tensor

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.filters import enlarged, painted
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure, as_pixel
from tapetum.figures.tiles import collage, evenly
from tapetum.types import History, PredictionCheck, TapetumError

MAX_FILTERS, MAX_STAGES = 16, 7
MAX_PICTURES, COLUMNS = 32, 8
MAX_NUMBERS, MAX_NAMES = 12, 24
"""Largest number of classes for which a confusion matrix has room for numbers, and for class names."""
RIGHT, WRONG = "\N{CHECK MARK}", "\N{BALLOT X}"
"""Signs beside the colours, for readers who cannot tell those apart."""


@draw.register
def _(result: History, view: Literal["curves", "filters"] = "curves") -> Figure:
    """Draws loss and accuracy by epoch; with view="filters", the first convolution's filters from the start to the end."""
    if view == "filters":
        return _filters(result)
    if view != "curves":
        raise TapetumError(f'a history is shown as view="curves" or "filters", not {view!r}')
    train, held = result.pictures
    subtitle = f"{train:,} pictures trained on, {held:,} held out · kept: epoch {result.kept}, {result.accuracy:.1%} right"
    figure = canvas.page(8.0, 3.0, f"How {result.arch} learned {len(result.classes)} classes", subtitle)
    panels = figure.subplots(1, 2)
    _curves(panels[0], result, "loss", "mean cross entropy")
    _curves(panels[1], result, "accuracy", "share of pictures right")
    panels[0].legend(fontsize=NOTE_PT, frameon=False, labelcolor=LIGHT.ink)
    panels[1].set_ylim(top=1.02)
    panels[0].set_ylim(bottom=0)
    return figure


def _curves(axes: Any, result: History, name: str, label: str) -> None:
    """Draws a measure by epoch: a solid line for held-out pictures, a dashed one for training pictures.

    A ring marks the epoch whose weights were kept.
    """
    numbers = [epoch.number for epoch in result.epochs]
    held = [getattr(epoch, f"validation_{name}") for epoch in result.epochs]
    train = [getattr(epoch, f"train_{name}") for epoch in result.epochs]
    axes.plot(numbers, train, "--", color=LIGHT.muted, linewidth=1.3, label="trained on (while learning)")
    axes.plot(numbers, held, "-o", color=LIGHT.accent, linewidth=1.6, markersize=3, label="held out")
    axes.plot([result.kept], [held[result.kept - 1]], "o", color=LIGHT.accent, markersize=8, fillstyle="none")
    canvas.plot(axes, "epoch", label)
    axes.xaxis.get_major_locator().set_params(integer=True)


# --- filters by epoch


def _filters(result: History) -> Figure:
    """Draws one row per epoch and one column per filter on one scale; below, the change by training on a scale of its own."""
    if len(result.snapshots) < 2 or result.layer is None:
        raise TapetumError(f"{result.arch} kept no snapshots: its first convolution was frozen, or there is none")
    count, channels, height, width = result.snapshots.shape[1:]
    columns, stages = min(count, MAX_FILTERS), evenly(len(result.snapshots), MAX_STAGES)
    top = float(result.snapshots.abs().max()) or 1.0
    some = f"{columns} of {count} filters" if columns < count else f"{count} filters"
    title = f"The filters of {result.layer} form: {some} of {height} x {width}"
    what = "red, green, blue: mid-grey is weight 0" if channels == 3 else f"mean over {channels} input channels: white is 0"
    scale = f"one scale for all, from -{top:.2g} to {top:.2g} · like the start: mean cosine"
    figure = canvas.page(max(columns * 0.48 + 0.9, 6.6), (len(stages) + 1) * 0.62, title, f"{what}; {scale}")
    panels = figure.subplots(len(stages) + 1, 1, squeeze=False)[:, 0]
    for axes, stage in zip(panels, stages, strict=False):
        canvas.image(axes, _row(result.snapshots[stage, :columns], top), smooth=False)
        alike = torch.cosine_similarity(result.snapshots[stage].flatten(1), result.snapshots[0].flatten(1)).mean()
        _row_name(axes, f"after epoch {stage}\nlike the start: {float(alike):.2f}" if stage else "random start")
    change = result.snapshots[-1] - result.snapshots[0]
    own = float(change.abs().max()) or 1.0
    canvas.image(panels[-1], _row(change[:columns], own), smooth=False)
    _row_name(panels[-1], f"end minus start\nscale {own:.2g}")
    return figure


def _row_name(axes: Any, words: str) -> None:
    axes.set_ylabel(words, fontsize=NOTE_PT, color=LIGHT.muted, rotation=0, ha="right", va="center")


def _row(weights: Tensor, top: float) -> Tensor:
    """Joins filters (k, c, h, w) side by side: in colours, or as the mean over their inputs."""
    shown = weights.float() if weights.shape[1] == 3 else weights.float().mean(1)
    return collage([enlarged(one) for one in painted(shown, top)], len(weights), gap_px=6)


# --- pictures with predictions


@draw.register
def _(result: PredictionCheck) -> Figure:
    """Draws pictures with the network's predictions, each with a check mark or a cross; beside them the confusion matrix."""
    n = min(len(result.pixels), MAX_PICTURES)
    right, total = int(result.confusion.diagonal().sum()), int(result.confusion.sum())
    names = max((len(name) for name in result.classes), default=1)
    columns = min(max(n, 1), COLUMNS if names <= 10 else COLUMNS // 2, max(4, ceil(n**0.5)))
    rows = max(1, ceil(n / columns))
    cell = 1.15 if names <= 10 else 1.5
    matrix = 3.0 if len(result.classes) <= MAX_NUMBERS else 4.0
    size = columns * cell + matrix + 0.4, max(rows * (cell + 0.3), matrix)
    order = {"any": "drawn at random", "wrong": "the surest mistakes first", "right": "the least sure of the right ones first"}
    subtitle = f"{n} pictures, {order[result.shows]} · {RIGHT} right, {WRONG} wrong, with the network's probability"
    title = f"{result.model}: {right:,} of {total:,} pictures right ({result.accuracy:.1%})"
    figure = canvas.page(*size, title, subtitle)
    left, beside = figure.add_gridspec(1, 2, width_ratios=[columns * cell, matrix])
    grid = left.subgridspec(rows, columns)
    for i in range(n):
        _answer(figure.add_subplot(grid[i // columns, i % columns]), result, i)
    if n == 0:
        axes = figure.add_subplot(grid[0, 0])
        axes.set_axis_off()
        canvas.heading(axes, f"no picture is {result.shows}")
    _matrix(figure.add_subplot(beside), result)
    return figure


def _answer(axes: Any, result: PredictionCheck, i: int) -> None:
    truth, said = int(result.truth[i]), int(result.predicted[i])
    good = truth == said
    words = f"{RIGHT if good else WRONG} {result.classes[said]} ({float(result.probability[i]):.0%})"
    canvas.image(axes, result.pixels[i], "")
    axes.set_anchor("C")
    below = "" if good else f"it is {result.classes[truth]}"
    axes.set_title(words, fontsize=NOTE_PT, color=LIGHT.accent if good else LIGHT.caution, parse_math=False, pad=3)
    axes.set_xlabel(below, fontsize=NOTE_PT, color=LIGHT.caution, parse_math=False, labelpad=2)


def _matrix(axes: Any, result: PredictionCheck) -> None:
    """Draws the confusion matrix: one row per class, one column per prediction; shades are shares of the row."""
    counts = result.confusion.float()
    share = counts / counts.sum(1, keepdim=True).clamp(min=1)
    canvas.image(axes, torch.lerp(as_pixel(LIGHT.card), as_pixel(LIGHT.accent), share), "", smooth=False)
    axes.set_title("pictures of each class (row) by prediction (column)", fontsize=LABEL_PT, color=LIGHT.ink, pad=6)
    axes.set_anchor("N")
    axes.spines[:].set(visible=True, color=LIGHT.line)
    places = list(range(len(result.classes)))
    if len(places) <= MAX_NAMES:
        plain = {"fontsize": NOTE_PT, "parse_math": False}
        axes.set_xticks(places, result.classes, rotation=45, ha="right", rotation_mode="anchor", **plain)
        axes.set_yticks(places, result.classes, **plain)
        axes.tick_params(colors=LIGHT.muted, length=0)
    if len(places) <= MAX_NUMBERS:
        for row, column in counts.nonzero().tolist():
            ink = LIGHT.card if float(share[row, column]) > 0.5 else LIGHT.ink
            axes.text(column, row, f"{int(counts[row, column])}", ha="center", va="center", fontsize=NOTE_PT, color=ink)
