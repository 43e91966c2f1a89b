"""Several layers, one map: each on its own scale, on the finest grid among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Fuse: TypeAlias = Annotated[
    Literal["mean", "max"], "fusion of the maps of several layers, each divided by its largest magnitude: mean or max."
]


def fused(maps: Sequence[Tensor], fuse: Fuse) -> Tensor:
    """Maps (n, 1, h, w) of several layers to one of the finest grid: upsampled bilinearly, then their mean or largest value."""
    finest = max(((int(one.shape[-2]), int(one.shape[-1])) for one in maps), key=lambda size: size[0] * size[1])
    large = torch.stack([upsampled(one, finest) for one in maps])
    return large.mean(0) if fuse == "mean" else large.amax(0)


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def by_largest(maps: Tensor) -> Tensor:
    """Each image's map divided by its largest magnitude: layers differ by orders of it; a map of zeros stays as it is."""
    largest = maps.abs().amax((1, 2, 3), keepdim=True)
    return maps / torch.where(largest > 0, largest, 1)
