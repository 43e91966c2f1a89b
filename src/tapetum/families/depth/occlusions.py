"""Hides a box of the image and measures the change of the activation at every layer."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor
from typing import Literal

import torch
from torch import Tensor

from tapetum.border.methods import inspection
from tapetum.border.sentences import MapLayers
from tapetum.data.preprocessing import Size, size_of
from tapetum.engines.perturb.fills import as_fill
from tapetum.engines.scores import class_name, gives_classes, probabilities
from tapetum.families.depth.layers import at_layers, named_or_five
from tapetum.models.layers import Survey, Window
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import ImageError, MethodError, OcclusionProbe

USUAL, USUAL_SIDE = (50, 150, 60, 160), 224
"""Default hidden box (top, bottom, left, right), and the side of the image that it refers to, in px."""

Hiding = Literal["black", "grey", "blur", "noise"]


@inspection(takes="images")
def occlusion_probe(
    model: VisionModel,
    images: Tensor,
    *,
    box: Sequence[int] | str | None = None,
    fill: Hiding = "black",
    layers: MapLayers = None,
) -> OcclusionProbe:
    """The change that a hidden box causes in the answer and at each layer: where it is, and how much of it lies under the box.

    changes (n, h, w) for each layer, the mean over channels of |a_after - a_before|. share_under and share_reached
    (layers, n): the share of the change at the places whose own pixels are hidden, and at those that can see a hidden pixel
    (by the theoretical receptive field). Everywhere else the change is exactly 0.

    Args:
        box: rows and columns of the image as the model sees it, "top,bottom,left,right", ends excluded; None:
            50,150,60,160 at 224 px, in proportion for images of another size.
        fill: black (pixel value 0), grey (the training set's mean colour, 0 for the network), blur (the image itself,
            Gaussian blur of sigma 1/20 of the shorter side) or noise (uniform in [0, 1]).

    Example:
        >>> print(tp.occlusion_probe(model, images, box="4,8,4,12"))
    """
    names, size = named_or_five(model, layers), size_of(images)
    top, bottom, left, right = hidden = _as_box(box, size)
    changed = images.clone()
    shown = as_fill(model, images, "zero" if fill == "grey" else fill)
    changed[..., top : bottom + 1, left : right + 1] = shown[..., top : bottom + 1, left : right + 1]
    changes = _changes(model, images, changed, names)
    survey = model.survey_at(size)
    under = tuple(_under(survey, name, changes[name], hidden, size) for name in names)
    reach = tuple(window_reached(survey, name, hidden, size_of(changes[name])) for name in names)
    everywhere = [name for name, window in zip(names, reach, strict=True) if window is None]
    if everywhere:
        note(f"{', '.join(everywhere)}: every place may see the whole image, so the box reaches all of them")
    classes, probabilities = _answers(model, images, changed)
    return OcclusionProbe(
        model=model.name,
        layers=tuple(names),
        box=hidden,
        fill=_words(model, fill),
        before=model.denormalize(images),
        after=model.denormalize(changed),
        changes=tuple(changes[name] for name in names),
        under=under,
        reach=reach,
        share_under=_shares(changes, under),
        share_reached=_shares(changes, reach),
        classes=classes,
        probabilities=probabilities,
    )


def _as_box(box: Sequence[int] | str | None, size: Size) -> Window:
    """Converts a box to (top, bottom, left, right) with both ends included; refuses a box outside the image."""
    height, width = size
    if box is None:
        sides = (height, height, width, width)
        numbers = [round(place * side / USUAL_SIDE) for place, side in zip(USUAL, sides, strict=True)]
    else:
        numbers = _whole_numbers(box)
    top, bottom, left, right = numbers
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        shown = ",".join(map(str, numbers))
        raise ImageError(
            f"the box {shown} does not lie in an image of {height} x {width} px: give top,bottom,left,right with "
            f"0 <= top < bottom <= {height} and 0 <= left < right <= {width}"
        )
    return top, bottom - 1, left, right - 1


def _whole_numbers(box: Sequence[int] | str) -> list[int]:
    parts = box.split(",") if isinstance(box, str) else list(box)
    try:
        numbers = [int(part) for part in parts]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 4 or any(float(part) != number for part, number in zip(parts, numbers, strict=True)):
        raise MethodError(f"occlusion_probe: box is four whole numbers, top,bottom,left,right, not {box!r}")
    return numbers


def _words(model: VisionModel, fill: Hiding) -> str:
    if fill == "grey":
        colour = model.denormalize(model.blank(size=(1, 1)))
        shown = ", ".join(f"{round(255 * value)}" for value in colour.flatten().tolist())
        return f"the training set's mean colour (RGB {shown})"
    return {"black": "black", "blur": "a blur of the picture", "noise": "uniform noise"}[fill]


def _changes(model: VisionModel, before: Tensor, after: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Returns {layer: mean over channels of |after - before|, (n, h, w)}; exactly 0 where no hidden pixel has influence."""
    original, changed = (at_layers(model, images, layers, torch.clone) for images in (before, after))
    return {name: (changed[name] - original[name]).abs().mean(1) for name in layers}


def _under(survey: Survey, layer: str, change: Tensor, box: Window, size: Size) -> Window:
    """Returns the window of places whose own pixels touch the box: one stride wide around the centre of the receptive field."""
    ends: list[int] = []
    for axis, first, last in ((0, box[0], box[1]), (1, box[2], box[3])):
        cells = int(change.shape[1 + axis])
        if layer in survey.spans:
            span = survey.spans[layer][axis]
            start, step = (span.low + span.high + 1 - span.jump) / 2, span.jump
        else:
            start, step = Fraction(0), Fraction(size[axis], cells)
        low, high = floor((first - start) / step), ceil((last + 1 - start) / step) - 1
        ends += [min(max(low, 0), cells - 1), min(max(high, 0), cells - 1)]
    return ends[0], ends[1], ends[2], ends[3]


def window_reached(survey: Survey, layer: str, box: Window, grid: Size) -> Window | None:
    """Returns the window of places whose receptive field touches the box; None if all may; empty (last < first) if none."""
    if layer not in survey.spans or layer in survey.pooled:
        return None
    ends: list[int] = []
    for span, cells, first, last in zip(survey.spans[layer], grid, (box[0], box[2]), (box[1], box[3]), strict=True):
        low = ceil((first - span.high - span.loose) / span.jump)
        high = floor((last - span.low + span.loose) / span.jump)
        ends += [max(low, 0), min(high, cells - 1)]
    return ends[0], ends[1], ends[2], ends[3]


def _shares(changes: dict[str, Tensor], windows: Sequence[Window | None]) -> Tensor:
    """Returns (layers, n): the share of each layer's change that lies inside its window; NaN where nothing changed."""
    shares: list[Tensor] = []
    for change, window in zip(changes.values(), windows, strict=True):
        top, bottom, left, right = window or (0, change.shape[1] - 1, 0, change.shape[2] - 1)
        inside = change[:, top : bottom + 1, left : right + 1].double().sum((1, 2))
        shares.append(inside / change.double().sum((1, 2)))
    return torch.stack(shares)


def _answers(
    model: VisionModel, before: Tensor, after: Tensor
) -> tuple[tuple[tuple[str, str], ...], Tensor] | tuple[None, None]:
    """Returns the names of each image's top class before and after hiding, and probabilities; (None, None) without classes.

    The probabilities (n, 3) are: the first top class before and after, and the second top class after.
    """
    if not gives_classes(model, before):
        return None, None
    then, now = (probabilities(model, images) for images in (before, after))
    if then is None or now is None:
        return None, None
    first, second = then.argmax(1), now.argmax(1)
    rows = torch.arange(len(then))
    names = tuple((class_name(model, a), class_name(model, b)) for a, b in zip(first.tolist(), second.tolist(), strict=True))
    numbers = torch.stack([then[rows, first], now[rows, first], now[rows, second]], 1)
    return names, numbers
