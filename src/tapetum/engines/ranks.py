"""Statistics of ranks over pictures: Friedman's test, Nemenyi's critical difference, the rank-sum test, bootstrap intervals."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum.engines.similarity import ranks

DRAWS = 1000
"""Resamples of a bootstrap interval."""

EXACT = 20
"""Size of the smaller group from which on the rank-sum test takes the normal distribution; below it, it counts."""


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


def auc_of_ranks(sums: Tensor, m: Tensor | int, n: int) -> Tensor:
    """Returns AUC = P(one of a group is above one outside) + P(equal) / 2 from the sum of the ranks of its m members among n.

    Ranks count from 0, as `ranks` returns them (mann1947test).
    """
    return (sums - m * (m - 1) / 2) / (m * (n - m))


def rank_sum_test(scores: Tensor, inside: Tensor) -> tuple[float, float]:
    """Returns AUC and p-value of the scores (n,) of a group `inside` (n,) bool against the others (mann1947test).

    AUC = P(a score inside > one outside) + P(equal) / 2. p = P(as many pairs won if the ranks were given out by lot), by
    counting for a group or a rest of fewer than 20, else normal with a correction for continuity. For p, every tie is a
    pair lost: p is then valid whatever the ties are, where the usual correction for ties is too small for a score that is
    zero on most pictures. (NaN, 1) if all or none are inside.
    """
    values, marks = scores.double(), inside.bool()
    m, n = int(marks.sum()), len(values)
    if not 0 < m < n:
        return math.nan, 1.0
    others = values[~marks].sort().values
    won, not_lost = (int(torch.searchsorted(others, values[marks], right=right).sum()) for right in (False, True))
    pairs = m * (n - m)
    return (won + not_lost) / (2 * pairs), _rank_sum_p(won, m, n)


def _rank_sum_p(won: int, m: int, n: int) -> float:
    """Returns P(at least `won` of the m (n - m) pairs are won)."""
    pairs, few = m * (n - m), min(m, n - m)
    if few < EXACT:
        return float(_few_wins(few, n)[pairs - won])
    z = (won - pairs / 2 - 0.5) / math.sqrt(pairs * (n + 1) / 12)
    return 0.5 * math.erfc(z / math.sqrt(2))


@cache
def _few_wins(m: int, n: int) -> NDArray[np.float64]:
    """Returns P(U <= u) for u = 0 ... m (n - m), if the ranks of m of n scores are given out by lot.

    The numbers of ways are the coefficients of the product over i of (1 - q^(n - m + i)) / (1 - q^i).
    """
    ways = np.zeros(m * (n - m) + 1)
    ways[0] = 1
    for i in range(1, m + 1):
        top = n - m + i
        ways[top:] -= ways[: len(ways) - top].copy() if top < len(ways) else 0
        padded = np.concatenate([ways, np.zeros(-len(ways) % i)])
        ways = padded.reshape(-1, i).cumsum(0).reshape(-1)[: len(ways)]
    return np.minimum(ways.cumsum() / math.comb(n, m), 1.0)


def resamples(n: int, seed: int, draws: int = DRAWS) -> Tensor:
    """Returns how often each of n pictures is drawn in each of some resamples with repetition, (draws, n)."""
    if n == 0:
        return torch.zeros(draws, 0, dtype=torch.float64)
    drawn = torch.randint(n, (draws, n), generator=torch.Generator().manual_seed(seed))
    return torch.zeros(draws, n, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(draws, n, dtype=torch.float64))


def interval(sums: Tensor, counts: Tensor, times: Tensor) -> Tensor:
    """Returns the bootstrap interval of sum / count over pictures, (..., 2): its 2.5 and 97.5 per cent points.

    sums, counts   (n, ...) of each picture; those of a picture are drawn together
    times          (draws, n) as `resamples` returns
    """
    flat, numbers = (one.reshape(len(one), -1).double() for one in (sums, counts))
    means = (times @ flat) / (times @ numbers)  # NaN where no drawn picture counts
    points = torch.nanquantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64), 0)
    return points.T.reshape(*sums.shape[1:], 2)


def mean_interval(values: Tensor, draws: Tensor) -> tuple[float, float]:
    """Returns the bootstrap interval of the mean of values (n,): its 2.5 and 97.5 per cent points.

    draws  (draws, n) indices of the values that are drawn, with repetition
    """
    means = values[draws].mean(1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=means.dtype)).tolist()
    return low, high
