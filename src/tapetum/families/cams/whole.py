"""FullGrad: the contributions of the input and of every bias in one map, without a layer to choose."""

from __future__ import annotations

from math import ceil, floor
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.border.attributions import AT_IMAGE
from tapetum.border.fusion import upsampled
from tapetum.border.methods import attribution
from tapetum.data.preprocessing import size_of
from tapetum.engines.batching import over_images
from tapetum.engines.scores import ModelScore
from tapetum.families.cams.full_gradients import full_gradients
from tapetum.models.vision_model import VisionModel
from tapetum.types import Batch, MethodError

Rescale: TypeAlias = Literal["channel", "layer"]

INCOMPLETE = 1e-3
"""Largest difference between score and sum of terms, as a share of their total magnitude; 1e-6 in single precision."""

CONSTANT = 1e-4
"""A channel that varies by less than this share of its largest magnitude counts as constant and adds nothing to the map."""


@attribution(cite="srinivas2019fullgrad", reduce="max_abs", laws=("class_sensitive", AT_IMAGE))
def full_grad(score: ModelScore, images: Tensor, *, rescale: Rescale = "channel", batch: Batch = "auto") -> Tensor:
    """Everything that makes up the score, summed over all layers: input times gradient and each bias times its gradient.

    score = sum of x g + sum over operations of b g_out, exactly: b is what an operation itself adds (a bias, the shift of a
    batch-norm, the bend of a GELU). values = psi(x g) + sum over operations with a map of psi(b g_out), psi = magnitude,
    scaled to [0, 1] for each channel, summed over channels, upsampled bilinearly to the image; (n, 1, h, w) minus its smallest
    value, since the offsets of thousands of channels say nothing about places; at least 0, without a sign. The paper has the
    biases of convolutions and batch-norms alone, which are all there are in a network of ReLUs; ours are those of every
    operation, and a network whose terms do not sum to its score is refused. Terms without places (those of the head) are in
    the sum but not in the map.

    Args:
        rescale: scope of scaling to [0, 1]: each channel (the paper's formula, grad-cam) or each layer (its authors' code).

    Example:
        >>> tp.full_grad(model, images, rescale="layer")
    """
    size = size_of(images)
    grids, prefixes = _grids(score.model, size), {where.prefix for where in score.model.survey.maps.values()}

    def work(part: ModelScore, some: Tensor) -> Tensor:
        maps = images.new_zeros(len(some), 1, *size)

        def see(term: Tensor) -> None:
            nonlocal maps
            places = _as_map(term, grids, prefixes)
            if places is not None:
                maps = maps + upsampled(_rescaled(places, rescale).sum(1, keepdim=True), size)

        parts = full_gradients(part, some, see)
        if (parts.missing > INCOMPLETE).any():
            raise MethodError(
                f"full_grad: the terms of {score.model.name} do not sum to its score; operations that cannot be taken apart: "
                f"{', '.join(sorted(parts.unknown)) or 'none'}; use integrated_gradients"
            )
        see(parts.from_input)
        return maps - maps.amin((2, 3), keepdim=True)

    return over_images(score, images, work, batch, gradients=True)


def _rescaled(term: Tensor, rescale: Rescale) -> Tensor:
    axes = (2, 3) if rescale == "channel" else (1, 2, 3)
    low, high = term.abs().amin(axes, keepdim=True), term.abs().amax(axes, keepdim=True)
    varies = high - low > CONSTANT * high  # scaling to [0, 1] would turn rounding errors into structure
    return torch.where(varies, (term.abs() - low) / torch.where(varies, high - low, 1), 0)


def _grids(model: VisionModel, size: tuple[int, int]) -> set[tuple[int, int]]:
    """Returns all grid sizes (h, w) that maps of the network have for images of a size."""
    found = {size}
    for where in model.survey.maps.values():
        if where.stride is not None:
            down, right = (side / step for side, step in zip(size, where.stride, strict=True))
            found |= {(rows, columns) for rows in (floor(down), ceil(down)) for columns in (floor(right), ceil(right))}
    return {grid for grid in found if grid[0] * grid[1] > 1}


def _as_map(term: Tensor, grids: set[tuple[int, int]], prefixes: set[int]) -> Tensor | None:
    """Converts an operation's output (channels first, last, or tokens) to a map (n, c, h, w); None if it has no places."""
    shape = tuple(term.shape)
    if term.ndim == 4 and shape[2:] in grids:
        return term
    if term.ndim == 4 and shape[1:3] in grids:
        return term.permute(0, 3, 1, 2)
    if term.ndim == 3:
        for height, width in sorted(grids):
            prefix = shape[1] - height * width
            if prefix in prefixes:
                return term[:, prefix:].transpose(1, 2).reshape(shape[0], shape[2], height, width)
    return None
