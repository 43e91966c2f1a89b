"""Similarity of maps and pictures: rank correlation of their values, SSIM of their structure."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW_PX = 7
"""Side of the windows that SSIM compares, as in scikit-image; smaller pictures use the largest odd side that fits."""


def ranks(values: Tensor) -> Tensor:
    """Returns ranks (n, k) of the values within each row, from 0, as float64; equal values share the mean of their ranks."""
    order = values.detach().double().contiguous()
    ordered = order.sort(1).values
    below = torch.searchsorted(ordered, order, side="left")
    up_to = torch.searchsorted(ordered, order, side="right")
    return (below + up_to - 1).double() / 2


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Returns Pearson's correlation (...,) of the rows of (..., k) and (..., k); NaN where a row is constant or not finite."""
    first, second = (one.double() - one.double().mean(-1, keepdim=True) for one in (a, b))
    spread = first.square().sum(-1) * second.square().sum(-1)
    found = (first * second).sum(-1) / spread.sqrt()
    return found.clamp(-1, 1).where((spread > 0) & spread.isfinite(), torch.nan)


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Returns Spearman's correlation (n,) of maps (n, ...); NaN where a map is constant or not finite.

    rho = Pearson's correlation of the ranks; equal values share the mean of their ranks.
    """
    first, second = (one.flatten(1) for one in (a, b))
    broken = ~(first.isfinite().all(1) & second.isfinite().all(1))
    return correlation(ranks(first), ranks(second)).masked_fill(broken, torch.nan)


def ssim(pictures: Tensor, others: Tensor) -> Tensor:
    """Returns structural similarity (n,) in [-1, 1] of pictures (n, c, h, w) in [0, 1]; 1: equal (wang2004ssim).

    The mean over colours and all windows of 7 px of
    (2 m_a m_b + c1) (2 s_ab + c2) / ((m_a^2 + m_b^2 + c1) (s_a^2 + s_b^2 + c2)), m the mean and s the (co)variance in a window
    with equal weights, divided by count - 1; c1 = 0.01^2, c2 = 0.03^2: as scikit-image computes it.
    """
    smallest = min(pictures.shape[-2:])
    side = min(WINDOW_PX, smallest - 1 + smallest % 2)
    a, b = pictures.double(), others.double()

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, side, 1)

    over_a, over_b = mean(a), mean(b)
    unbiased = side**2 / max(side**2 - 1, 1)
    together = unbiased * (mean(a * b) - over_a * over_b)
    apart = unbiased * (mean(a * a) - over_a**2 + mean(b * b) - over_b**2)
    c1, c2 = 0.01**2, 0.03**2
    each = (2 * over_a * over_b + c1) * (2 * together + c2) / ((over_a**2 + over_b**2 + c1) * (apart + c2))
    return each.flatten(1).mean(1).to(pictures.dtype)
