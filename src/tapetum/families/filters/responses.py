"""Responses of a convolution's filters to an image, shown over the image."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

import torch
from torch import Tensor

from tapetum.border.methods import inspection
from tapetum.border.sentences import ConvolutionName
from tapetum.data.preprocessing import size_of
from tapetum.engines.probe import activations
from tapetum.families.filters.weights import checked_convolution, read_filters
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import FilterResponses, LayerError, Range


@inspection(takes="images")
def filter_responses(
    model: VisionModel,
    images: Tensor,
    *,
    layer: ConvolutionName | None = None,
    k: Annotated[int, Range(1, 256)] = 9,
    by: Literal["strength", "order"] = "strength",
) -> FilterResponses:
    """Filter, map, overlay: the pattern of a filter, its response across the image, and the same laid over the image.

    maps (n, k, h, w) are the convolution's own output, weights · window + bias at each place, before the normalisation and
    activation that follow; signed, no unit. `heatmaps()` lays them over the image as the model saw it: cell i of a map lies at
    the pixel in the middle of its receptive field, so strides, padding and patches are in the right place; between cells it is
    bilinear.

    Args:
        k: number of filters.
        by: strength: those with the largest standard deviation over all places of the images (a constant is not an answer);
            order: the first ones.

    Example:
        >>> print(tp.filter_responses(model, images, k=4))
    """
    name = checked_convolution(model, layer)
    if model.survey[name].grid is None:
        raise LayerError(f"{name} of {model.name} gives no map (n, c, h, w) to lay over the image: choose another convolution")
    maps = activations(model, images, name)
    rank = maps.var((0, 2, 3), correction=0) if by == "strength" else -torch.arange(maps.shape[1], device=maps.device)
    channels = rank.topk(min(k, maps.shape[1])).indices
    centres, strides = geometry(model, name, size_of(images), size_of(maps))
    return FilterResponses(
        photographs=model.denormalize(images),
        maps=maps[:, channels].clone(),
        channels=channels,
        filters=read_filters(model, name, channels),
        centres=centres,
        strides=strides,
        by={"strength": "standard deviation over places", "order": "order"}[by],
    )


def geometry(
    model: VisionModel, layer: str, size: tuple[int, int], grid: tuple[int, int]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Returns (row, column) of the pixel at the centre of the first cell's receptive field, and px per cell (down, right)."""
    spans = model.survey.spans.get(layer)
    if spans is None:
        note(f"a place of {layer} may see the whole image: its map is spread evenly over it")
        strides = tuple(pixels / cells for pixels, cells in zip(size, grid, strict=True))
        centres = tuple((stride - 1) / 2 for stride in strides)
    else:
        strides = tuple(float(span.jump) for span in spans)
        centres = tuple(float((span.low + span.high) / Fraction(2)) for span in spans)
    return (centres[0], centres[1]), (strides[0], strides[1])
