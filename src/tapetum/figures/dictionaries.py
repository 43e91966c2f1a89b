"""Draws the concepts of a layer: a row each, with the pictures on which its code is largest and where it is in them."""

from __future__ import annotations

from typing import Any

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.overlay import limit, over_photo, signs
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure
from tapetum.figures.words import some
from tapetum.types import Concepts, Recovery
from tapetum.types.dictionaries import told

TILE_IN, WORDS_IN = 1.25, 2.1
MAX_CONCEPTS, MAX_EXAMPLES = 12, 6


@draw.register
def _(result: Concepts) -> Figure:
    """Draws one row per concept: its numbers, then its examples with the code over them, on one scale per concept."""
    n, k = min(len(result.concepts), MAX_CONCEPTS), min(result.pictures.shape[1], MAX_EXAMPLES)
    of = f" of {result.of}" if result.of else ""
    title = f"{len(result.concepts)} concepts{of} in {result.layer} by {result.method}: {result.verdict}"
    mine, chance = result.numbers, result.null
    says = (
        f"R2 {told(mine.r2)}, random directions {told(chance.r2)} · agreement {told(mine.agreement)}, random"
        f" {told(chance.agreement)}\n{mine.l0[0]:.0%} of the concepts work at a place, {mine.dead[0]:.0%} never"
        f"{some(n, len(result.concepts), 'concepts')}"
    )
    figure = canvas.page(max(WORDS_IN + k * TILE_IN, 8.6), n * (TILE_IN + 0.24), title, says)
    grid = figure.subplots(n, k + 1, squeeze=False, width_ratios=[WORDS_IN, *[TILE_IN] * k])
    for axes in grid.flat:
        axes.set_axis_off()
    for i in range(n):
        _words(grid[i, 0], result, i)
        top = limit(result.maps[i]) if result.examples[i] else 1.0
        for j, one in enumerate(result.examples[i][:k]):
            shown = over_photo(result.pictures[i, j].float() / 255, result.maps[i, j], signs(result.maps[i]), top)
            canvas.image(grid[i, 1 + j], shown, note=f"{one.score:.3g}")
    return figure


def _words(axes: Any, result: Concepts, i: int) -> None:
    """Writes the name of a concept and its numbers."""
    lines = [f"agreement {float(result.agreement[i]):.2f}"]
    if result.importance is not None and result.spread is not None:
        low, high = result.spread[i].tolist()
        lines += [f"{result.measure} {float(result.importance[i]):+.3g}", f"({low:+.3g} to {high:+.3g})"]
    if not result.examples[i]:
        lines.append("never at work in these pictures")
    style = {"va": "top", "transform": axes.transAxes, "parse_math": False}
    name = result.concepts[i].name.removesuffix(f" in {result.layer}") or str(result.concepts[i])
    axes.text(0, 0.96, name, fontsize=LABEL_PT, color=LIGHT.ink, **style)
    axes.text(0, 0.76, "\n".join(lines), fontsize=NOTE_PT, color=LIGHT.muted, linespacing=1.4, **style)


@draw.register
def _(result: Recovery) -> Figure:
    """Draws a bar for each known direction: |cosine| with its concept, beside what one of twenty random dictionaries gives."""
    n = len(result.cosine)
    figure = canvas.page(6.4, 0.34 * n + 0.7, f"{int(result.found.sum())} of {n} known directions were found")
    axes = figure.subplots()
    for i in range(n):
        color = LIGHT.accent if bool(result.found[i]) else LIGHT.muted
        axes.barh(i, float(result.cosine[i]), color=color, height=0.6)
        axes.plot([float(result.chance[i])] * 2, [i - 0.4, i + 0.4], color=LIGHT.caution, linewidth=1.4)
    axes.set_yticks(range(n), [f"direction {i}" for i in range(n)])
    axes.set_ylim(n - 0.4, -0.6)
    axes.set_xlim(0, 1)
    canvas.plot(axes, "|cosine| with its concept; the line: one of twenty random dictionaries reaches it", "")
    return figure
