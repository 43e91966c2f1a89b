"""Draws the CKA of every pair of layers of two networks as a matrix."""

from __future__ import annotations

from typing import Any

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.overlay import colorize
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure
from tapetum.types import LayerAlignment

CELL_IN, NUMBERED = 0.42, 14
"""Side of a cell; matrices of more layers on a side are drawn without numbers, in smaller cells."""


@draw.register
def _(result: LayerAlignment) -> Figure:
    """Draws the matrix: a row for each layer of the first network, a column for each of the second, early ones first."""
    most = max(result.values.shape)
    side = CELL_IN if most <= NUMBERED else CELL_IN * NUMBERED / most
    height, width = result.values.shape[0] * side, result.values.shape[1] * side
    words = f"linear CKA without bias, {result.pictures} pictures{f' of {result.data}' if result.data else ''}\n"
    words += f"features: {result.pooled}; framed: the layer of the second network that is most alike"
    figure = canvas.page(max(5.2, width + 2.8), max(height, 1.4) + 1.3, "How alike are the layers of two networks?", words)
    matrix(figure.subplots(), result)
    return figure


def matrix(axes: Any, result: LayerAlignment) -> None:
    """Draws the matrix on given axes; values below 0 have the colour of 0."""
    values = result.values.nan_to_num(nan=0.0)
    canvas.image(axes, colorize(values.float().clamp(min=0), "positive", 1.0), "", smooth=False)
    if max(result.values.shape) <= NUMBERED:
        canvas.numbers(axes, result.values, ".2f", ground=values.clamp(0, 1) * 1.1 - 0.1)
    for row, column in enumerate(values.argmax(1).tolist()):
        canvas.frame(axes, (row - 0.5, column - 0.5, row + 0.5, column + 0.5))
    small = NOTE_PT if max(result.values.shape) <= NUMBERED else NOTE_PT - 1.5
    axes.set_yticks(range(len(result.layers)), result.layers)
    axes.set_xticks(range(len(result.others)), result.others, rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(labelsize=small, colors=LIGHT.muted, length=0)
    axes.set_ylabel(f"layers of {result.a or 'a'}", fontsize=LABEL_PT, color=LIGHT.muted, parse_math=False)
    axes.set_xlabel(f"layers of {result.b or 'b'}", fontsize=LABEL_PT, color=LIGHT.muted, parse_math=False)
    axes.set_anchor("C")
    canvas.colorbar(axes, "positive", 1.0, "CKA")
