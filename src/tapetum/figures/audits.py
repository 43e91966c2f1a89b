"""Draws audits: the effect of every cue on every class, and pictures before and after a cue was moved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from torch import Tensor

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure
from tapetum.figures.tiles import collage
from tapetum.types import Audit, Suspicion
from tapetum.types.audits import CUE_WORDS
from tapetum.types.looks import points

WIDTH_IN, ROW_IN, PAIR_IN = 7.2, 0.36, 1.15
ACROSS, MOST, ROWS = 6, 12, 3
NAME = 22
"""Letters of a file's name below a picture."""


@draw.register
def _(result: Audit) -> Figure:
    """Draws the effect of every cue on each class, with those that count filled; below, pictures of the strongest."""
    shown = [one for one in result.suspicions[:ROWS] if len(one.examples)]
    rows = len(result.effects) * ROW_IN + 0.55
    count = len(result.suspicions)
    verdict = f"{count} shortcut{'s' * (count != 1)} found" if count else "no shortcut found"
    title = f"{result.model or 'Model'}: {verdict} with {result.n} pictures of {len(result.classes)} classes"
    words = (
        "a dot is a class: mean change of its probability on other classes' pictures that took the cue from one of its own\n"
    )
    words += f"filled: p ≤ {result.level:g} after correction, past the bar, and the class loses by other classes' cues"
    figure = canvas.page(WIDTH_IN, rows + len(shown) * (2 * PAIR_IN + 0.62), title, words)
    heights = [rows, *[2 * PAIR_IN + 0.7] * len(shown)]
    parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _effects(parts[0].subplots(), result)
    for part, one in zip(parts[1:], shown, strict=True):
        part.set_facecolor("none")
        _pairs(part, one, 1)
        part.suptitle(_title(one), x=0.012, ha="left", fontsize=LABEL_PT, color=LIGHT.ink, parse_math=False)
    parts[0].set_facecolor("none")
    return figure


@draw.register
def _(result: Suspicion) -> Figure:
    """Draws pictures of other classes above, the same with the cue moved below, and the class's probability of both."""
    shown = min(len(result.examples), MOST)
    bands = max(1, -(-shown // ACROSS))
    low, high = result.interval
    words = f"other classes' pictures that took it: {points(result.effect)} points of probability more ({points(low)} to "
    words += f"{points(high)}), p = {result.p_value:.2g}\nanswered '{result.label}': {result.flips[0]:.0%} of {result.n}, "
    words += f"against {result.flips[1]:.0%} with the cue of another class"
    title = f"'{result.label}' follows {CUE_WORDS[result.kind]}"
    figure = canvas.page(WIDTH_IN, bands * (2 * PAIR_IN + 0.5), title, words)
    _pairs(figure, result, bands)
    return figure


def _title(one: Suspicion) -> str:
    return (
        f"'{one.label}' follows {CUE_WORDS[one.kind]}: +{points(one.effect)} points; answered so: {one.flips[0]:.0%}, "
        f"against {one.flips[1]:.0%}"
    )


def _effects(axes: Any, result: Audit) -> None:
    """Draws a row per cue: a dot per class, the bar that an effect has to reach, and the names of the classes found."""
    found = {(one.kind, one.label) for one in result.suspicions}
    top = max(10.0, *(100 * float(effect.max()) for effect in result.effects.values()))
    bottom = min(-5.0, *(100 * float(effect.min()) for effect in result.effects.values()))
    for y, (kind, effect) in enumerate(result.effects.items()):
        values = (100 * effect).tolist()
        axes.axhline(y, color=LIGHT.line, linewidth=0.8, zorder=0)
        bar = 100 * result.bars[kind]
        axes.plot([bar, bar], [y - 0.32, y + 0.32], color=LIGHT.caution, linewidth=1.2)
        marks = [(kind, label) in found for label in result.classes]
        plain = [value for value, mark in zip(values, marks, strict=True) if not mark]
        axes.plot(plain, [y] * len(plain), "o", color=LIGHT.card, markeredgecolor=LIGHT.muted, markersize=5, linestyle="")
        named = sorted((value, label) for value, label, mark in zip(values, result.classes, marks, strict=True) if mark)
        axes.plot([value for value, _ in named], [y] * len(named), "o", color=LIGHT.accent, markersize=6, linestyle="")
        if named:
            axes.text(
                named[-1][0] + 0.015 * (top - bottom), y, _named([label for _, label in named[::-1]]),
                fontsize=NOTE_PT, color=LIGHT.ink, va="center", parse_math=False,
                bbox={"color": LIGHT.card, "pad": 1},
            )  # fmt: skip
    kinds = list(result.effects)
    axes.axvline(0, color=LIGHT.muted, linewidth=0.8)
    axes.set(ylim=(len(kinds) - 0.5, -0.5), xlim=(bottom * 1.1, top * (1.45 if found else 1.1)))
    canvas.plot(axes, "points of probability; orange: the bar that an effect has to reach", "")
    axes.grid(visible=False)
    canvas.rows(axes, kinds)


def _named(labels: Sequence[str], most: int = 4) -> str:
    return ", ".join(labels[:most]) + (f" and {len(labels) - most} more" if len(labels) > most else "")


def _pairs(figure: Any, one: Suspicion, bands: int) -> None:
    """Draws bands of pictures: before above, after below, with the probability of the class and where the cue is from."""
    panels = canvas.panels(figure, bands, ACROSS)
    for i, axes in zip(range(len(one.examples)), panels.flat, strict=False):
        before, after = one.chances[i].tolist()
        canvas.image(axes, _both(one.before[i], one.after[i]), short(one.examples[i]), smooth=False)
        axes.title.set(fontsize=NOTE_PT, color=LIGHT.muted)
        canvas.below(axes, f"{before:.0%} → {after:.0%}\nfrom {short(one.givers[i])}", LIGHT.ink)


def _both(before: Tensor, after: Tensor) -> Tensor:
    return collage([before.float().cpu(), after.float().cpu()], 1, max(1, before.shape[-1] // 32))


def short(name: str) -> str:
    """The last part of a picture's name, cut in front."""
    stem = PurePosixPath(name).name
    return stem if len(stem) <= NAME else f"…{stem[1 - NAME :]}"
