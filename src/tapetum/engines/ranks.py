"""Statistics of ranks over pictures: Friedman's test, Nemenyi's critical difference, and bootstrap intervals of means."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tapetum.engines.similarity import ranks

DRAWS = 1000
"""Resamples of a bootstrap interval."""


def ranked(values: Tensor, higher: bool) -> Tensor:
    """Returns the ranks (n, m) of m methods on each of n pictures: 1 is the best; equal values share their mean rank."""
    return 1 + ranks(-values if higher else values)


def friedman(ranks: Tensor) -> float:
    """Returns the p-value of equal methods, from ranks (n, m), by Friedman's chi-squared with the correction for ties.

    1 where nothing differs, or where there are fewer than two pictures or methods.
    """
    n, m = ranks.shape
    middle = (m + 1) / 2
    spread = float((ranks.double() - middle).square().sum())
    if n < 2 or m < 2 or spread == 0:
        return 1.0
    between = float((ranks.double().sum(0) - n * middle).square().sum())
    statistic = (m - 1) * between / spread
    half = torch.tensor([m - 1, statistic], dtype=torch.float64) / 2
    return float(torch.special.gammaincc(*half))


def critical_difference(m: int, n: int, level: float = 0.05) -> float:
    """Returns the least difference of two mean ranks that is significant (demsar2006statistical); infinity for n = 0.

    q / sqrt(2) * sqrt(m (m + 1) / (6 n)), q the upper quantile of the range of m standard normal numbers.
    """
    if n == 0 or m < 2:
        return math.inf
    return range_quantile(m, level) / math.sqrt(2) * math.sqrt(m * (m + 1) / (6 * n))


def range_quantile(m: int, level: float) -> float:
    """Returns q with P(range of m standard normal numbers > q) = level, by halving: exact to 1e-9."""
    low, high = 0.0, 40.0
    while high - low > 1e-10:
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - _range_below(m, middle) > level else (low, middle)
    return (low + high) / 2


def _range_below(m: int, q: float) -> float:
    """Returns P(range <= q) = m * integral of phi(z) (Phi(z + q) - Phi(z))^(m - 1), z the least of the m numbers."""
    z = torch.linspace(-10, 10, 4001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    inside = torch.special.ndtr(z + q) - torch.special.ndtr(z)
    return float(m * torch.trapezoid(density * inside ** (m - 1), z))


def resamples(n: int, seed: int) -> Tensor:
    """Returns how often each of n pictures is drawn in each of 1000 resamples with repetition, (1000, n)."""
    if n == 0:
        return torch.zeros(DRAWS, 0, dtype=torch.float64)
    drawn = torch.randint(n, (DRAWS, n), generator=torch.Generator().manual_seed(seed))
    return torch.zeros(DRAWS, n, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(DRAWS, n, dtype=torch.float64))


def interval(sums: Tensor, counts: Tensor, times: Tensor) -> Tensor:
    """Returns the bootstrap interval of sum / count over pictures, (..., 2): its 2.5 and 97.5 per cent points.

    sums, counts   (n, ...) of each picture; those of a picture are drawn together
    times          (draws, n) as `resamples` returns
    """
    flat, numbers = (one.reshape(len(one), -1).double() for one in (sums, counts))
    means = (times @ flat) / (times @ numbers)  # NaN where no drawn picture counts
    points = torch.nanquantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64), 0)
    return points.T.reshape(*sums.shape[1:], 2)
