"""Fuses the maps of several layers into one: each scaled by its largest value and upsampled to the finest grid."""

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
    """Fuses maps (n, 1, h, w) of several layers: upsamples them to the finest grid, then takes their mean or maximum."""
    finest = max(((int(one.shape[-2]), int(one.shape[-1])) for one in maps), key=lambda size: size[0] * size[1])
    large = torch.stack([upsampled(one, finest) for one in maps])
    return large.mean(0) if fuse == "mean" else large.amax(0)


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def by_largest(maps: Tensor) -> Tensor:
    """Divides each image's map by its largest magnitude, which varies widely between layers; a map of zeros stays zero."""
    largest = maps.abs().amax((1, 2, 3), keepdim=True)
    return maps / torch.where(largest > 0, largest, 1)
