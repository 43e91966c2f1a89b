"""Channels of a layer that are active in all of several images, and channels that are active in one alone."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from tapetum.border.layers import named_layer
from tapetum.border.methods import inspection
from tapetum.engines.probe import activations
from tapetum.models.depths import depths
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import ConsistentChannels, ImageError, LayerError, Range

OFTEN = 0.9
"""Percentile above which a channel belongs to the top tenth of an image."""


@inspection(takes="images")
def consistent_channels(
    model: VisionModel, images: Tensor, *, layer: str | None = None, k: Annotated[int, Range(1, 100)] = 10
) -> ConsistentChannels:
    """The channels of a layer that are active in all of several images, and those active in one alone.

    a (n, c) is the mean of channel c's map in image i. Its percentile there, in [0, 1], is the share of the image's other
    channels with a lower mean; equal ones count half. consistency (c,) = min over images of the percentile: at 0.9 the channel
    is among the top tenth of every image. specificity (c,) = z of the best image - z of the second best, z = (a - mean over
    channels) / sd over channels, within each image: at 3 the channel stands out in one image by three standard deviations more
    than in any other. Both compare channels within an image, so that an image of higher contrast has no advantage. `tp.show`
    draws the percentiles as a matrix, images by channels, and the maps of the first channels.

    A consistent channel need not have found what the images share: it may be active for any image. Add an image without the
    shared thing (noise, plain grey), and see whether the channel stays. Refused: fewer than two images, a layer without a map
    or with a single channel.

    Args:
        layer: a name; None: the last of three depths.
        k: number of channels listed of each kind; fewer where the layer has fewer.

    Example:
        >>> found = tp.consistent_channels(model, images.repeat(2, 1, 1, 1), k=3)
        >>> found.consistent, found.consistency[found.consistent]
    """
    if len(images) < 2:
        raise ImageError("one image has nothing to agree with: give two or more")
    name = depths(model)[-1] if layer is None else named_layer(model, layer)
    if layer is None:
        note(f"layer {name} was chosen: the last of three depths")
    maps = activations(model, images, name)
    _check(maps, name)
    means = maps.mean((2, 3))
    percentiles, places = _percentiles(means), _standardized(means).sort(0, descending=True)
    consistency, specificity = percentiles.amin(0), places.values[0] - places.values[1]
    consistent, specific = _first(k, consistency, percentiles.mean(0)), _first(k, specificity)
    _compare_with_chance(consistency, len(images))
    return ConsistentChannels(
        layer=name,
        activations=means,
        percentiles=percentiles,
        consistency=consistency,
        specificity=specificity,
        best=places.indices[0],
        consistent=consistent,
        specific=specific,
        maps=maps[:, torch.cat([consistent, specific])],
        photographs=model.denormalize(images),
    )


def _check(maps: Tensor, layer: str) -> None:
    if maps.shape[1] < 2:
        raise LayerError(f"{layer} has a single channel: no other to compare it with")
    broken = [str(row + 1) for row, one in enumerate(maps) if not one.isfinite().all()]
    if broken:
        raise LayerError(f"{layer} gives NaN or infinity for image {', '.join(broken)}: leave it out, or take an earlier layer")


def _percentiles(means: Tensor) -> Tensor:
    """Returns (n, c) in [0, 1]: the share of the other channels of a row with a lower value; equal values count half."""
    ordered = means.sort(1).values
    lower = torch.searchsorted(ordered, means, side="left")
    up_to = torch.searchsorted(ordered, means, side="right")
    return (lower + (up_to - lower - 1) / 2).to(means.dtype) / (means.shape[1] - 1)


def _standardized(means: Tensor) -> Tensor:
    """Returns (n, c): z-scores of the channels within each row; zeros where all channels of a row are equal."""
    apart = means - means.mean(1, keepdim=True)
    spread = means.std(1, correction=0, keepdim=True)
    return torch.where(spread > 0, apart / spread, torch.zeros_like(apart))


def _first(k: int, values: Tensor, among_equals: Tensor | None = None) -> Tensor:
    """Returns indices of the k highest values, highest first; ties by `among_equals` (higher first), then by index."""
    order = torch.arange(len(values), device=values.device)
    for one in (among_equals, values):  # a stable sort by the second measure, then by the first
        if one is not None:
            order = order[one[order].argsort(descending=True, stable=True)]
    return order[:k]


def _compare_with_chance(consistency: Tensor, n: int) -> None:
    """Adds a note: how many channels are in the top tenth of all n images, and how many are expected by chance."""
    channels = len(consistency)
    often, chance = int((consistency >= OFTEN).sum()), channels * (1 - OFTEN) ** n
    note(f"{often} of {channels} channels are among the top tenth of all {n} images; by chance {chance:.2g} would be")
