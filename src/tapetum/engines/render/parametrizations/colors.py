"""Converts unbounded numbers to colours in [0, 1] and back, with or without the correlation of natural colours."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

IMAGENET_COLORS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""A square root of the covariance of ImageNet's colours, as published with olah2017feature; rows are red, green, blue."""

EDGE = 1e-4
"""Smallest distance of given pixels from 0 and 1, where logits are infinite."""


def to_colors(free: Tensor, decorrelated: bool = True) -> Tensor:
    """Converts unbounded numbers x (n, 3, h, w) to pixels in (0, 1): sigmoid(M x), M the colour matrix.

    M is the identity without `decorrelated`, and for bands that are not three.
    """
    colors = decorrelated and free.shape[1] == 3
    return one_by_one(torch.sigmoid, _mixed(free, color_matrix(free)) if colors else free)


def from_colors(pixels: Tensor, decorrelated: bool = True) -> Tensor:
    """Inverts `to_colors`: returns the unbounded numbers of given pixels, which are first clamped to [1e-4, 1 - 1e-4]."""
    free = pixels.clamp(EDGE, 1 - EDGE).logit()
    return _mixed(free, torch.linalg.inv(color_matrix(free))) if decorrelated and free.shape[1] == 3 else free


def one_by_one(function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """Applies an elementwise function picture by picture: in a batch, the last few numbers may be rounded differently."""
    return torch.stack([function(one) for one in batch])


def color_matrix(like: Tensor) -> Tensor:
    """Returns the colour matrix (3, 3), divided by its largest column norm, in the type of `like`."""
    matrix = torch.tensor(IMAGENET_COLORS, dtype=torch.float64)
    return (matrix / matrix.norm(dim=0).max()).to(like.device, like.dtype)


def _mixed(free: Tensor, matrix: Tensor) -> Tensor:
    # element by element: a matrix product may add up in another order in another batch
    rows = [sum(matrix[i, j] * free[:, j] for j in range(3)) for i in range(3)]
    return torch.stack([row for row in rows if isinstance(row, Tensor)], 1)
