"""Draws an examination of a model: its findings as text, the severity of each by its colour."""

from __future__ import annotations

from textwrap import wrap

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure
from tapetum.figures.words import some
from tapetum.types import Diagnosis, Finding, Severity

MOST = 12  # findings in one figure; the title says when there are more
WIDTH_IN = 8.6
LETTERS = 150
COLORS: dict[Severity, str] = {"error": LIGHT.caution, "warning": LIGHT.caution, "note": LIGHT.muted}
LINE_IN = 1.45 * NOTE_PT / 72


@draw.register
def _(result: Diagnosis) -> Figure:
    """Draws the findings under each other: name, what was found, what tapetum does, what to do; last what was not tested."""
    shown = result.findings[:MOST]
    blocks = [_block(one) for one in shown]
    left = [line for one in result.left_out for line in wrap(f"not tested: {one}", LETTERS)]
    lines = sum(len(rows) + 1.5 for _, rows, _ in blocks) + len(left) + (not blocks)
    title = result.verdict + some(len(shown), len(result.findings), "findings")
    figure = canvas.page(
        WIDTH_IN, max(lines, 1) * LINE_IN + 0.2, title, "what was found, what tapetum does about it, and what to do"
    )
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(max(lines, 1), 0))
    style = {"va": "top", "parse_math": False, "linespacing": 1.35}
    y = 0.0
    for head, rows, color in blocks:
        axes.text(0, y, head, fontsize=LABEL_PT, color=color, weight="bold", **style)
        axes.text(0.012, y + 1, "\n".join(rows), fontsize=NOTE_PT, color=LIGHT.ink, **style)
        y += len(rows) + 1.5
    axes.text(0, y, "\n".join(left) if blocks or left else "nothing was found", fontsize=NOTE_PT, color=LIGHT.muted, **style)
    return figure


def _block(one: Finding) -> tuple[str, list[str], str]:
    """Returns the heading of a finding, its lines, and the colour of its severity."""
    rows = wrap(one.what, LETTERS)
    for words in (f"tapetum: {one.done}", f"to do: {one.advice}"):
        rows += wrap(words, LETTERS, subsequent_indent="    ")
    return f"{one.severity} · {one.name.replace('_', ' ')}", rows, COLORS[one.severity]
