"""Prepares pictures for an audit: where their objects are, their backgrounds alone, and the surfaces of their objects."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.families.audits.plates import plates

FEWEST = 8
"""Pixels of an object from which each covariance of its surface is computed, at least."""

AT_ONCE = 64


@dataclass(frozen=True)
class Material:
    """Pictures of which cues are moved.

    pixels    (n, 3, h, w) in [0, 1], as the network sees them
    objects   (n, h, w) bool
    plates    (n, 3, h, w): the background of each picture alone
    surfaces  (n, 1, h, w): noise with the covariances of the object's brightness, with a standard deviation of 1
    """

    pixels: Tensor
    objects: Tensor
    plates: Tensor
    surfaces: Tensor

    @property
    def has_object(self) -> Tensor:
        """Pictures (n,) bool in which an object was found."""
        return self.objects.flatten(1).any(1)


def material(pixels: Tensor, objects: Tensor, seed: int) -> Material:
    """Returns pictures (n, 3, h, w) with masks (n, h, w) of their objects, their plates and surfaces."""
    generator = torch.Generator().manual_seed(seed)
    parts = zip(pixels.split(AT_ONCE), objects.split(AT_ONCE), strict=True)
    surfaces = torch.cat([_surfaces(some, masks, generator) for some, masks in parts])
    return Material(pixels, objects, plates(pixels, objects, seed), surfaces)


def coarse(x: Tensor, mask: Tensor) -> Tensor:
    """Local mean (n, c, h, w) within masks (n, 1, h, w), over about a fifth of the shorter side."""
    reach = max(1, min(x.shape[-2:]) // 10)
    weights = mask.to(x)
    return _box(x * weights, reach) / _box(weights, reach).clamp(min=1e-6)


def _box(x: Tensor, reach: int) -> Tensor:
    """Mean (n, c, h, w) over squares of 2 reach + 1 px, with 0 outside: first down the columns, then along the rows."""
    width = 2 * reach + 1
    return F.avg_pool2d(F.avg_pool2d(x, (width, 1), 1, (reach, 0)), (1, width), 1, (0, reach))


def fine_spread(x: Tensor, mask: Tensor) -> Tensor:
    """Standard deviation (n,) of the object's brightness about its local mean."""
    luma = x.mean(1, keepdim=True)
    residual = (luma - coarse(luma, mask)) * mask
    return (residual.square().sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)).sqrt()


def _surfaces(pixels: Tensor, objects: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian noise (n, 1, h, w) whose covariances are those of each object's brightness about its local mean.

    The covariance at a lag is the mean product of pixels of the object at that lag, for lags up to a sixth of the side and
    tapered to 0 there. A noise with these covariances has the object's orientations and grain, and none of its parts.
    """
    height, width = pixels.shape[-2:]
    luma = pixels.mean(1, keepdim=True).double()
    inner = 1 - F.max_pool2d((~objects)[:, None].double(), 3, 1, 1)
    residual = (luma - coarse(luma, objects[:, None])) * inner
    residual = residual - inner * residual.sum((2, 3), keepdim=True) / inner.sum((2, 3), keepdim=True).clamp(min=1)
    size = (2 * height, 2 * width)
    products, counts = (torch.fft.irfft2(torch.fft.rfft2(one, size).abs().square(), size) for one in (residual, inner))
    reach = min(height, width) // 6
    lags = torch.arange(-reach, reach + 1, device=pixels.device)
    taper = torch.cos(lags / (reach + 1) * torch.pi / 2).square()
    near = (products / counts.clamp(min=FEWEST))[..., lags[:, None] % size[0], lags[None] % size[1]]
    spread = torch.zeros_like(luma)
    spread[..., lags[:, None] % height, lags[None] % width] = near * taper[:, None] * taper
    amplitude = torch.fft.rfft2(spread).real.clamp(min=0).sqrt()
    noise = torch.randn(luma.shape, generator=generator, dtype=torch.float64).to(luma)
    made = torch.fft.irfft2(torch.fft.rfft2(noise) * amplitude, (height, width))
    return (made / made.flatten(1).std(1).clamp(min=1e-6)[:, None, None, None]).to(pixels)
