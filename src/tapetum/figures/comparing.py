"""Draws two networks side by side: agreement beside its null and bar, likeness of layers, and maps of some pictures."""

from __future__ import annotations

from textwrap import fill
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.figures import canvas
from tapetum.figures.alignments import NUMBERED, matrix
from tapetum.figures.draw import draw
from tapetum.figures.overlay import SCALE, overlay, with_words
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure
from tapetum.figures.words import WORDS
from tapetum.registry import lookup
from tapetum.types import Comparison

WIDTH_IN, CHART_IN, SIDE_IN = 10.6, 3.3, 1.55


@draw.register
def _(result: Comparison) -> Figure:
    """Draws the agreement of maps and the likeness of layers; below, pictures with the maps of both networks."""
    k = len(result.shown)
    below = 2 * SIDE_IN + 1.0 if k else 0.0
    title = f"{result.a} and {result.b} on {len(result.pictures)} pictures{f' of {result.data}' if result.data else ''}"
    figure = canvas.page(WIDTH_IN, CHART_IN + below + 0.25, title, fill(result.verdict, 150, max_lines=2))
    parts: Any = figure.subfigures(2 if k else 1, 1, height_ratios=[CHART_IN, below] if k else None, squeeze=False)[:, 0]
    for part in parts:
        part.set_facecolor(LIGHT.card)
    histogram, seeds, layers = parts[0].subplots(1, 3, width_ratios=[1, 1, 1.25])
    _pictures(histogram, result)
    _seeds(seeds, result)
    matrix(layers, result.cka)
    canvas.heading(layers, "likeness of layers: CKA")
    if max(result.cka.values.shape) > NUMBERED:
        layers.tick_params(labelsize=NOTE_PT - 2.5)
    if k:
        _maps(parts[1], result)
    return figure


def _pictures(axes: Any, result: Comparison) -> None:
    """Draws how many pictures have which agreement."""
    known = result.agreement[result.agreement.isfinite()].double().cpu().numpy()
    axes.hist(known, bins=24, range=(min(0.0, float(known.min(initial=0.0))), 1), color=LIGHT.accent, alpha=0.75)
    mean = result.mean_agreement
    if mean == mean:
        axes.axvline(mean, color=LIGHT.ink, linewidth=1.2)
        canvas.heading(axes, f"agreement of maps per picture: mean {mean:.3f}")
    else:
        canvas.heading(axes, "no picture has maps by both networks")
    canvas.plot(axes, f"rank correlation of {result.method} maps", "pictures")
    axes.yaxis.get_major_locator().set_params(integer=True)


def _seeds(axes: Any, result: Comparison) -> None:
    """Draws the mean agreement of networks of other seeds as dots, the bar as a line, and b's own as a diamond."""
    null = result.null
    values = [] if null is None else list(null.values)
    mine = result.measured
    for y, value in enumerate(values):
        axes.plot([value], [y], "o", color=LIGHT.muted, markersize=5)
    if mine == mine:
        color = LIGHT.caution if result.below else LIGHT.accent
        axes.plot([mine], [len(values)], "D", color=color, markersize=7)
    if result.bar is not None and result.bar > -1:
        axes.axvline(result.bar, color=LIGHT.caution, linewidth=1.2, linestyle="--")
        axes.text(result.bar, -0.9, " bar", fontsize=NOTE_PT, color=LIGHT.caution, va="center")
    kind = "" if null is None else "pair of twins" if null.kind != "given" else "seed"
    names = [f"{kind} {i + 1}" for i in range(len(values))]
    if null is not None and null.kind == "given":
        names[0] = result.a
    axes.set_ylim(len(names) + 0.6, -1.4)
    canvas.heading(axes, "is it another seed?" if null is not None else "no networks of other seeds were given")
    what = "mean agreement with the others" if null is not None and null.kind == "given" else "mean agreement"
    canvas.plot(axes, what, "")
    canvas.rows(axes, [*names, result.b], NOTE_PT)
    axes.margins(x=0.12)


def _maps(part: Any, result: Comparison) -> None:
    """Draws a column for each kept picture: the map of the first network above that of the second."""
    k = len(result.shown)
    part.suptitle(
        f"pictures with another answer, then the lowest agreement · maps of the class that {result.a} predicts, {SCALE}",
        fontsize=LABEL_PT, color=LIGHT.muted, x=0.01, ha="left", parse_math=False,
    )  # fmt: skip
    panels = canvas.panels(part, 2, max(k, 4))
    for column, row in enumerate(result.shown):
        first, second = result.answers[row]
        agreement = f"agreement {float(result.agreement[row]):.2f}"
        for line, (name, answer) in enumerate(((result.a, first), (result.b, second))):
            said = f"{name}: {answer}" if answer else name
            canvas.image(panels[line, column], _over(result, column, line), _short(said), note=agreement if line else "")


def _over(result: Comparison, column: int, line: int) -> Tensor:
    """Returns the map over the photograph, pale where the network saw nothing of it."""
    photo, values = result.photographs[column], result.maps[column, line]
    hidden = values.isnan()
    size = (int(photo.shape[-2]), int(photo.shape[-1]))
    smooth = F.interpolate(values.nan_to_num(0.0)[None, None], size, mode="bilinear", align_corners=False)[0, 0]
    outside = F.interpolate(hidden[None, None].float(), size)[0, 0] > 0
    kind = lookup(result.method).reduce
    if kind == "positive" and not bool((values > 0).any()):
        return with_words(photo.float(), WORDS["no_positive_evidence"])
    shown = smooth.abs() if kind == "max_abs" else smooth.clamp(min=0) if kind == "positive" else smooth
    return overlay(photo.float(), torch.where(outside, torch.nan, shown), kind)


def _short(words: str, most: int = 26) -> str:
    return words if len(words) <= most else f"{words[: most - 1]}…"
