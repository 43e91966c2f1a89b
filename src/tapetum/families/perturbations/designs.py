"""Designs of random masks over a grid of cells, and estimators of each cell's influence from the scores under the masks."""

from __future__ import annotations

import torch
from torch import Tensor


def sobol_design(n: int, d: int, generator: torch.Generator) -> Tensor:
    """Returns points (n (d + 1), d) in [0, 1]: n points A, then for each coordinate the points A with that one from B.

    A and B are the two halves of one Sobol sequence of 2 d dimensions, scrambled (Owen) differently for each seed.
    """
    seed = int(torch.randint(2**31, (1,), generator=generator, device=generator.device))
    a, b = torch.quasirandom.SobolEngine(2 * d, scramble=True, seed=seed).draw(n, dtype=torch.float64).chunk(2, dim=1)
    one = torch.eye(d, dtype=torch.bool)[:, None]
    return torch.cat([a, torch.where(one, b, a).flatten(0, 1)])


def jansen(scores: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Estimates total Sobol indices (d,) and their standard errors from the scores of a `sobol_design`.

    S_i = mean_j (f(A_j) - f(A_j with coordinate i of B))^2 / (2 Var f(A)): the share of the variance that i takes part in,
    alone or with others (Jansen, 1999). Zero where the score does not vary.
    """
    plain, replaced = scores[:n], scores[n:].view(-1, n)
    variance, halves = plain.var(), (plain - replaced) ** 2 / 2
    if variance == 0:
        return torch.zeros_like(halves[:, 0]), torch.zeros_like(halves[:, 0])
    total = halves.mean(1) / variance
    influence = (halves - total[:, None] * (plain - plain.mean()) ** 2) / variance
    return total, influence.std(1) / n**0.5


def balanced_design(n: int, cells: int, generator: torch.Generator) -> Tensor:
    """Returns n masks of zeros and ones, (n, d), d = cells^2: each cell is 1 (seen) in a random half of the masks."""
    return (torch.rand(n, cells**2, generator=generator).argsort(0) < n // 2).double()


def hsic_binary(design: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Estimates the Hilbert-Schmidt independence criterion (d,) between each column and the scores, with standard errors.

    tr(K H L H) / (n - 1)^2 with k(x, x') = 1/2 - (x - x')^2 and l(y, y') = exp(-(y - y')^2 / (2 s^2)), s the median distance
    of two scores. Centred, k is 2 (x - mean x)(x' - mean x'), so no n x n matrix of masks is needed.
    """
    n, distances = len(scores), (scores[:, None] - scores).abs()
    between = distances[torch.triu_indices(n, n, 1).unbind()]
    middle = between.median()
    width = middle if middle > 0 else between.mean().clamp(min=torch.finfo(scores.dtype).tiny)
    kernel = (-((distances / width) ** 2) / 2).exp()
    kernel = kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
    x = design - design.mean(0)
    each = 2 * x * (kernel @ x) * n / (n - 1) ** 2  # the mean over samples is the estimate
    return each.mean(0), 2 * each.std(0) / n**0.5
