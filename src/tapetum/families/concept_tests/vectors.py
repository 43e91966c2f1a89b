"""Concept vectors in closed form and their null: the same vectors with the labels of the pictures shuffled.

A vector that is linear in the pictures' activations is a weighting of pictures, so all that follows from it needs only inner
products that are computed once: thousands of random vectors cost one product of matrices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

VectorKind: TypeAlias = Literal["mean", "lda"]

CHUNK = 2048
"""Labellings that are computed at once."""

TINY = 1e-9
"""Share of the largest value by which two values may differ and still count as equal: rounding is no evidence."""


@dataclass(frozen=True, eq=False)
class Labellings:
    """Ways (k, m + r) bool to call m of m + r pictures those of the concept; `all` says whether there are no others."""

    rows: Tensor
    all: bool

    def p_value(self, value: float, null: Tensor) -> float:
        """Returns the share of labellings with a value at least as large; the given one counts as one of them."""
        slack = TINY * max(abs(value), float(null.abs().max()))
        reached = int((null >= value - slack).sum())
        return reached / len(null) if self.all else (1 + reached) / (1 + len(null))

    @property
    def chunks(self) -> Iterator[Tensor]:
        """Weights (m + r, k) of pictures whose sum is the mean of the concept's less that of the others, some at a time."""
        for some in self.rows.split(CHUNK):
            yield weights(some)


def weights(rows: Tensor) -> Tensor:
    """Returns for labellings (k, n) the weights (n, k) of pictures: 1 / m for the m of the concept, -1 / r for the others."""
    own = rows.T.double()
    m = own.sum(0)
    return own / m - (1 - own) / (len(own) - m)


def labellings(m: int, r: int, runs: int, seed: int) -> Labellings:
    """Returns all labellings of m + r pictures with m of the concept where there are at most `runs`, else random ones."""
    n = m + r
    if math.comb(n, m) <= runs:
        chosen = torch.tensor(list(itertools.combinations(range(n), m)))
        return Labellings(torch.zeros(len(chosen), n, dtype=torch.bool).scatter_(1, chosen, True), True)
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.rand(len(some), n, generator=generator).argsort(1) < m for some in torch.arange(runs).split(CHUNK)]
    return Labellings(torch.cat(parts), False)


def smallest_p(m: int, r: int, runs: int) -> float:
    """Returns the least p-value that a two-sided test can give: with equal sizes, exchanging the sets only turns the sign."""
    ways = math.comb(m + r, m)
    return (2 if m == r else 1) / ways if ways <= runs else 1 / (1 + runs)


def metric_of(values: Tensor, kind: VectorKind) -> Tensor:
    """Returns activations (n, c) of pictures times the metric M of a kind of vector, so that a vector is weights @ result.

    mean: M = 1, the vector is the difference of the means. lda: M = C^-1 with C the covariance of all pictures, shrunk towards
    its mean variance (ledoit2004well), in units of that variance. With the labels unknown to M, shuffling them stays exact; the
    direction is that of the usual within-group covariance, from which C differs by a multiple of the difference alone.
    """
    if kind == "mean":
        return values
    centred = values - values.mean(0)
    n, c = centred.shape
    covariance = centred.T @ centred / n
    size = covariance.diagonal().mean()
    if not float(size) > 0:
        return values
    identity = torch.eye(c, dtype=values.dtype)
    distance = (covariance - size * identity).square().sum()
    spread = (centred.square().sum(1).square().sum() / n - covariance.square().sum()) / n
    share = min(1.0, float(spread / distance)) if float(distance) > 0 else 1.0
    shrunk = (1 - share) * covariance / size + max(share, 1e-6) * identity
    return torch.linalg.solve(shrunk, values.T).T


@dataclass(frozen=True, eq=False)
class Tested:
    """What a labelling, or each of several, gives: arrays (k,).

    effect      mean over images of the derivative of the score along the vector
    positive    share of images with a positive derivative
    accuracy    mean over both sets of the share of left-out pictures on the right side
    """

    effect: Tensor
    positive: Tensor
    accuracy: Tensor


def tested(values: Tensor, scaled: Tensor, pulls: Tensor, rows: Tensor) -> Tested:
    """Computes what labellings (k, n) of pictures give, from activations (n, c), those times the metric, gradients (i, c)."""
    w = weights(rows)
    derivatives = (pulls @ scaled.T) @ w
    return Tested(derivatives.mean(0), (derivatives > 0).double().mean(0), left_out(values @ scaled.T, rows))


def left_out(products: Tensor, rows: Tensor) -> Tensor:
    """Returns the accuracy (k,) on pictures left out one by one: is a picture nearer to its own set's mean than to the other?

    products (n, n) are inner products of pictures in the metric. The mean without a picture lies m / (m - 1) times as far
    from it as the mean with it, so no mean is computed again. Both sets count the same; ties count half.
    """
    far = {own: _distances(products, rows if own else ~rows) for own in (True, False)}
    total = torch.zeros(len(rows), dtype=products.dtype)
    for own, mine in ((True, rows), (False, ~rows)):
        m = mine.sum(1).double()
        inside, outside = far[own] * ((m / (m - 1)) ** 2), far[not own]
        slack = TINY * (inside + outside)
        right = (inside < outside - slack).double() + 0.5 * ((inside - outside).abs() <= slack).double()
        total += (right * mine.T).sum(0) / m / 2
    return total


def _distances(products: Tensor, rows: Tensor) -> Tensor:
    """Returns the squared distances (n, k) of pictures to the mean of those that each labelling names."""
    share = rows.T.double() / rows.sum(1)
    towards = products @ share
    return products.diagonal()[:, None] - 2 * towards + (share * towards).sum(0)


def null_of(values: Tensor, scaled: Tensor, pulls: Tensor, ways: Labellings) -> Tested:
    """Computes what all labellings give, some at a time."""
    parts = [tested(values, scaled, pulls, some) for some in ways.rows.split(CHUNK)]
    return Tested(*(torch.cat([getattr(one, name) for one in parts]) for name in ("effect", "positive", "accuracy")))
