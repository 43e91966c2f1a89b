"""Draws preprocessing steps, and the colour channels of photographs as numbers."""

from __future__ import annotations

from typing import Any

from tapetum.data.planes import viewable
from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import Figure
from tapetum.figures.words import some
from tapetum.types import ColorChannels, PreprocessingStep, PreprocessingSteps
from tapetum.types.photographs import COLORS, range_of

MAX_IMAGES = 3
COLUMNS = ("as read", "resized", "cropped", "normalised", "back again")
SIDE_IN = 1.95


@draw.register
def _(result: PreprocessingSteps) -> Figure:
    """Draws one row per way of preprocessing, one column per step; a frame on the photograph marks the part that is seen."""
    n = min(len(result.ways), MAX_IMAGES)
    ways = [way for ways in result.ways[:n] for way in ways]
    title = f"From a photograph to the numbers that {result.model} gets{some(n, len(result.ways), 'photographs')}"
    says = "frame: the part that is seen · under each picture its size in px and the range of its values\n"
    says += "normalised: (pixels - mean) / std per channel, stretched here to black and white so that it can be shown"
    figure = canvas.page(len(COLUMNS) * SIDE_IN + 0.4, len(ways) * (SIDE_IN + 0.25), title, says)
    panels = canvas.panels(figure, len(ways), len(COLUMNS))
    for row, way in zip(panels, ways, strict=True):
        steps = {step.name: step for step in way.steps}
        for axes, name in zip(row, COLUMNS, strict=True):
            if name in steps:
                _step(axes, steps[name])
        shown = way.steps[0].values.shape[-1] / way.steps[0].shape[-1]
        top, left, bottom, right = (edge * shown - 0.5 for edge in way.box)  # in matplotlib, pixel 0 reaches from -0.5 to 0.5
        canvas.frame(row[0], (top, left, bottom, right))
        canvas.heading(row[0], f"{way.name}: {way.kept():.0%} seen".replace("%", " %"))
    return figure


def _step(axes: Any, step: PreprocessingStep) -> None:
    values = step.values.detach().float().cpu()
    if step.name == "normalised":
        low, high = step.range
        values = (values - low) / ((high - low) or 1.0)
    height, width = step.shape[-2:]
    canvas.image(axes, viewable(values[None])[0], step.name, note=f"{height} × {width}: {range_of(step)}")


@draw.register
def _(result: ColorChannels) -> Figure:
    """Draws two rows per image: the image and its channels in grey, then a patch of it and the patch's numbers per channel."""
    n = min(len(result.photographs), MAX_IMAGES)
    height, width = result.photographs.shape[-2:]
    title = f"What you see, and what a machine has{some(n, len(result.photographs))}"
    says = f"{height} × {width} px, three numbers each; a channel in grey: 0 is black, 1 is white\n"
    says += "below: the patch in the frame, with its numbers as files store them, 0 to 255"
    figure = canvas.page(4 * 2.35, n * 2 * 2.6, title, says)
    panels = figure.subplots(2 * n, 4, squeeze=False)
    for i in range(n):
        photo, (row, column), side = result.photographs[i], result.places[i], result.patch_px
        above, below = panels[2 * i], panels[2 * i + 1]
        canvas.image(above[0], photo, "what it saw")
        canvas.frame(above[0], (row - 0.5, column - 0.5, row + side - 0.5, column + side - 0.5))
        patch = result.patch(i)
        canvas.image(below[0], patch / 255, f"rows {row} to {row + side - 1}, columns {column} to {column + side - 1}", False)
        for c, color in enumerate(COLORS):
            mean, low, high = (float(one) for one in (photo[c].mean(), photo[c].min(), photo[c].max()))
            canvas.image(above[c + 1], photo[c].expand(3, -1, -1), f"{color}: mean {mean:.2f}, {low:.2f} to {high:.2f}")
            canvas.image(below[c + 1], (patch[c] / 255).expand(3, -1, -1), color, smooth=False)
            canvas.numbers(below[c + 1], patch[c].round(), ".0f", patch[c] / 255)
    return figure
