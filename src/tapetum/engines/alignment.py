"""Likeness of two sets of features of the same samples: linear CKA without bias, with its jackknife error.

    K = X X', L = Y Y' with zero diagonals; k = K 1, l = L 1 the sums of their rows
    HSIC(K, L) = (tr K L + 1'k 1'l / ((n - 1) (n - 2)) - 2 k'l / (n - 2)) / (n (n - 3))
    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))

This is the unbiased estimator over all n samples (song2012feature), not a mean over batches. No n x n matrix is kept: the row
sums of K * L come from the features' products X'Y (p, q), or from blocks of rows of K and L, whichever takes less work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 512
"""Rows of K and L that are held at once."""

FEWEST = 4
"""Least number of samples: the estimator divides by n - 3."""


@dataclass(frozen=True, eq=False)
class Centered:
    """Features (n, p) of n samples, less their mean, scaled to a mean squared length of 1, as float64 on the CPU.

    CKA changes with neither; sums of squares of large numbers would lose digits. squares, sums (n,): the diagonal of X X',
    and the sums of its rows without the diagonal. own (n + 1,): HSIC(K, K) of all samples, and without each of them.
    """

    values: Tensor
    squares: Tensor
    sums: Tensor
    own: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Centered:
        values = features.detach().cpu().double()
        values = values - values.mean(0)
        size = values.square().sum(1).mean().sqrt()
        values = values / size if size > 0 else values
        squares = values.square().sum(1)
        bare = cls(values, squares, values @ values.sum(0) - squares, squares)
        return cls(bare.values, bare.squares, bare.sums, hsic(bare, bare))


def cka(a: Centered, b: Centered) -> tuple[float, float]:
    """Returns the CKA of two sets of features and its jackknife standard error; NaN where all samples are alike.

    The error is NaN below five samples, since it leaves out one at a time.
    """
    each = hsic(a, b) / (a.own * b.own).sqrt()
    value, without = float(each[0]), each[1:]
    n = len(without)
    if n <= FEWEST or not bool(without.isfinite().all()):
        return value, math.nan
    return value, float(((n - 1) / n * (without - without.mean()).square().sum()).sqrt())


def hsic(a: Centered, b: Centered) -> Tensor:
    """Returns the unbiased HSIC of all n samples, and without each of them, (n + 1,)."""
    n, rows = len(a.values), products(a, b)
    from_a = a.values @ (a.values.T @ b.sums) - a.squares * b.sums
    from_b = b.values @ (b.values.T @ a.sums) - b.squares * a.sums
    trace, both = rows.sum(), (a.sums * b.sums).sum()
    whole = _hsic(trace, a.sums.sum() * b.sums.sum(), both, n)
    ends = (a.sums.sum() - 2 * a.sums) * (b.sums.sum() - 2 * b.sums)
    left = _hsic(trace - 2 * rows, ends, both - a.sums * b.sums - from_a - from_b + rows, n - 1)
    return torch.cat([whole[None], left])


def _hsic(trace: Tensor, ends: Tensor, both: Tensor, n: int) -> Tensor:
    if n < FEWEST:
        return torch.full_like(trace, torch.nan)
    return (trace + ends / ((n - 1) * (n - 2)) - 2 * both / (n - 2)) / (n * (n - 3))


def products(a: Centered, b: Centered) -> Tensor:
    """Returns the sums (n,) of the rows of K * L, both without their diagonals."""
    x, y, own = a.values, b.values, a.squares * b.squares
    n, p, q = len(x), x.shape[1], y.shape[1]
    if p * q <= n * (p + q):
        return ((x @ (x.T @ y)) * y).sum(1) - own
    rows = [((some @ x.T) * (other @ y.T)).sum(1) for some, other in zip(x.split(BLOCK), y.split(BLOCK), strict=True)]
    return torch.cat(rows) - own
