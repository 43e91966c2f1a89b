"""Sums float32 numbers exactly, as integers, so that the order of the numbers does not matter.

A float32 is m 2^(e - 150) with |m| < 2^24 and 1 <= e <= 254. Numbers with the same e // 8 are summed in one int64, as
m << e % 8: that makes 32 bins, and since each term is below 2^31, 2^32 terms fit. Squares are m m << 2 (e % 8), below 2^62,
and their lower and upper halves of 31 bits are summed separately. A sum is rounded once, at the end.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tapetum.types import TapetumError

BINS = 32
OCTAVES = 8
"""Exponents per bin."""

HALF = 31
"""Bits of the lower half of a square."""

UNIT = 150
"""Sums are in units of 2^-150, sums of squares in units of 2^-300."""


def _parts(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Splits float32 values (n, c) into mantissa, bin, and shift of the mantissa within the bin, each (c, n) int64."""
    bits = (values + 0.0).T.contiguous().view(torch.int32).long()
    biased = (bits >> 23) & 0xFF
    if bool((biased == 0xFF).any()):
        raise TapetumError("an exact sum takes finite numbers: leave NaN and infinity out")
    mantissa = (bits & 0x7FFFFF) | ((biased > 0).long() << 23)  # subnormal numbers have no hidden bit
    exponent = biased.clamp(min=1)
    return torch.where(bits < 0, -mantissa, mantissa), exponent // OCTAVES, exponent % OCTAVES


def sums(values: Tensor) -> Tensor:
    """Returns the exact sums over n of float32 values (n, c), in 32 bins: (c, 32) int64."""
    mantissa, index, shift = _parts(values)
    return torch.zeros(len(mantissa), BINS, dtype=torch.int64).scatter_add_(1, index, mantissa << shift)


def squares(values: Tensor) -> Tensor:
    """Returns the exact sums over n of the squares of float32 values (n, c), in lower and upper halves: (c, 2, 32) int64."""
    mantissa, index, shift = _parts(values)
    square = (mantissa * mantissa) << (2 * shift)
    halves = torch.stack([square & ((1 << HALF) - 1), square >> HALF], 1)
    out = torch.zeros(len(mantissa), 2, BINS, dtype=torch.int64)
    return out.scatter_add_(2, index[:, None].expand_as(halves), halves)


def total(sums: Tensor) -> list[int]:
    """Returns sums (c, 32) as whole numbers in units of 2^-150."""
    return [sum(term << (OCTAVES * i) for i, term in enumerate(row)) for row in sums.tolist()]


def total_squares(squares: Tensor) -> list[int]:
    """Returns sums of squares (c, 2, 32) as whole numbers in units of 2^-300."""
    step = 2 * OCTAVES
    return [
        sum((low + (high << HALF)) << (step * i) for i, (low, high) in enumerate(zip(*row, strict=True)))
        for row in squares.tolist()
    ]


def mean_and_deviation(sums: Tensor, squares: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Returns mean and standard deviation sqrt((n sum v v - (sum v)^2) / (n n)) of n numbers, (c,) float64 each; NaN if n = 0.

    Both are rounded only once from the true value (the root twice), so they are accurate even where the mean is far
    larger than the deviation.
    """
    if n == 0:
        nothing = torch.full((len(sums),), float("nan"), dtype=torch.float64)
        return nothing, nothing.clone()
    firsts, seconds = total(sums), total_squares(squares)
    means = [first / (n << UNIT) for first in firsts]  # Python's division of whole numbers rounds once
    below = (n * n) << (2 * UNIT)
    spread = [math.sqrt((n * second - first * first) / below) for first, second in zip(firsts, seconds, strict=True)]
    return torch.tensor(means, dtype=torch.float64), torch.tensor(spread, dtype=torch.float64)
