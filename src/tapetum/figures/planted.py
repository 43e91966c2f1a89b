"""Draws planted pictures: each with its label, and its masks below."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor

from tapetum.data.planted import Planted
from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LIGHT, Figure, as_pixel
from tapetum.figures.tiles import collage

MAX_PICTURES = 16
ACROSS = 8
SIDE_IN = 1.25


@draw.register
def _(result: Planted) -> Figure:
    """Draws pictures with their classes, and below each its masks: the object white, the cue in colour, with its class."""
    shown = result.take(range(min(len(result), MAX_PICTURES)))
    columns = min(len(shown), ACROSS)
    bands = ceil(len(shown) / columns)
    some = f" ({MAX_PICTURES} of {len(result):,})" if len(result) > MAX_PICTURES else ""
    title = f"Planted {result.settings.kind}, {result.settings.size} x {result.settings.size} px{some}"
    figure = canvas.page(max(columns * SIDE_IN, 6.2), bands * (2 * SIDE_IN + 0.42), title, _key(result))
    panels = canvas.panels(figure, bands, columns)
    gap_px = max(1, result.settings.size // 32)
    for i in range(len(shown)):
        axes = panels[i // columns, i % columns]
        both = collage([shown.pixels[i], _truth(shown.masks[i], shown.cue_masks[i])], 1, gap_px)
        canvas.image(axes, both, shown.labels[i], smooth=False)
        says = f"cue: {shown.classes[int(shown.cues[i])]}" if shown.cues[i] >= 0 else ""
        color = LIGHT.caution if bool(shown.conflicting[i]) else LIGHT.muted
        canvas.below(axes, says, color)
    return figure


def _key(result: Planted) -> str:
    if result.settings.shortcut is None:
        return "below each picture its mask: the object is white · nothing goes with the class"
    share = result.aligned.float().mean()
    told = "no picture has a cue" if result.neutral.all() else f"the cue speaks for the own class in {share:.0%}"
    return f"below: the object white, the cue ({result.settings.shortcut}) coloured · {told}"


def _truth(mask: Tensor, cue_mask: Tensor) -> Tensor:
    """Returns the masks as a picture (3, h, w): the object white, the cue in colour, the rest dark.

    Where the cue is the object's colour, and both masks are equal, the object is in a lighter tone of the colour.
    """
    picture = torch.full((3, *mask.shape), 0.12)
    accent = as_pixel(LIGHT.accent)[..., 0]
    picture[:, cue_mask] = accent
    picture[:, mask] = accent * 0.35 + 0.65 if torch.equal(mask, cue_mask) else torch.ones(3, 1)
    return picture
