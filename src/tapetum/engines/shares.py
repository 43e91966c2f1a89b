"""Statistics of shares, such as pictures of which something is true: the interval of one, and the sign test."""

from __future__ import annotations

from math import comb

from torch import Tensor

Z = 1.96  # of a 95 % interval


def wilson(share: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Returns the ends of Wilson's 95 % interval of each share (...,) of n."""
    z = Z**2 / n
    middle, half = share + z / 2, Z * (share * (1 - share) / n + z / (4 * n)) ** 0.5
    return (middle - half) / (1 + z), (middle + half) / (1 + z)


def sign_test(won: int, n: int) -> float:
    """Returns P(at least `won` of n pairs are won), if either side of each pair wins by lot."""
    return sum(comb(n, k) for k in range(won, n + 1)) / 2**n
