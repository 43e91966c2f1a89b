"""Draws the names of a layer's units, or of concepts, by their AUC, beside what the same choice finds by chance."""

from __future__ import annotations

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure
from tapetum.types import UnitNames
from tapetum.types.checks import listed

WIDTH_IN, ROW_IN = 6.4, 0.24
MOST = 24
"""Names that are drawn, the most accurate ones."""


@draw.register
def _(result: UnitNames) -> Figure:
    """Draws a dot per name at its AUC; below them, each unit's AUC where the names of the pictures are dealt out by lot."""
    rows = [result.units.index(unit) for unit in result.named[:MOST]]
    n = len(rows)
    said = f"{len(result.named)} of {len(result.units)} {result.kind} have a name"
    shown = f"{said}, the {n} most accurate ones" if n < len(result.named) else said
    words = f"{shown}\nAUC on {result.judged_on} pictures that did not choose the name; p <= {result.level:g} for all together"
    figure = canvas.page(WIDTH_IN, (n + 1) * ROW_IN + 0.7, f"Names of {result.kind} of {result.layer}", words)
    axes = figure.subplots(1, 1)
    for y, row in enumerate(rows):
        axes.plot([result.least_auc, float(result.auc[row])], [y, y], color=LIGHT.accent, linewidth=2)
        axes.plot([float(result.auc[row])], [y], "o", color=LIGHT.accent, markersize=5)
    lots = [one for one in listed(result.shuffled) if one == one]
    axes.plot(lots, [n] * len(lots), "|", color=LIGHT.caution, markersize=7, alpha=0.5)
    axes.axvline(0.5, color=LIGHT.line, linewidth=1)
    axes.axvline(result.least_auc, color=LIGHT.muted, linewidth=1, linestyle="--")
    axes.set(ylim=(n + 0.6, -0.6), xlim=(min([0.45, *lots]) - 0.02, 1.01))
    canvas.plot(axes, "AUC (0.5: chance; dashed: the least AUC of a name)", "")
    names = [f"{result.names[row]}  {result.title(row).removeprefix(result.layer)}" for row in rows]
    canvas.rows(axes, [*names, f"names by lot, all {result.kind}"], LABEL_PT if n < MOST else NOTE_PT)
    return figure
