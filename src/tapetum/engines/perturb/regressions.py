"""Linear regressions of the scores of coalitions on the players present, with standard errors."""

from __future__ import annotations

import torch
from torch import Tensor


def cosine_kernel(present: Tensor, width: float) -> Tensor:
    """Returns the weights of LIME for images, (m,) for coalitions (m, k): sqrt(exp(-d^2 / width^2)).

    d is the cosine distance to the full coalition, 1 - sqrt(s / k) for s of k players.
    """
    distance = 1 - present.double().mean(1).sqrt()
    return (-(distance**2) / width**2).exp().sqrt()


def weighted_ridge(present: Tensor, values: Tensor, weights: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Returns the coefficients b (k,) that minimise sum_j w_j (v_j - b_0 - z_j . b)^2 + alpha |b|^2, and their standard errors.

    z is `present`, v `values` and w `weights`. The weights tell where the fit should be good, not how noisy the values are, so
    the errors are White's sandwich estimates with the factor n / (n - k - 1); they are infinite for n <= k + 1 coalitions.
    """
    z, v, w = precise(present, values), precise(values, values), precise(weights, values)
    z, v = z - w @ z / w.sum(), v - w @ v / w.sum()
    inverse = torch.linalg.pinv(z.T @ (w[:, None] * z) + alpha * torch.eye(z.shape[1]).to(z), hermitian=True)
    coefficients = inverse @ (z.T @ (w * v))
    influence = (w * (v - z @ coefficients))[:, None] * z @ inverse
    n, spare = len(z), len(z) - z.shape[1] - 1
    error = influence.square().sum(0).sqrt() * (n / spare) ** 0.5 if spare > 0 else torch.full_like(coefficients, torch.inf)
    return coefficients, error


def shapley_regression(
    listed: tuple[Tensor, Tensor, Tensor], drawn: tuple[Tensor, Tensor, float], nobody: Tensor, everybody: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns Shapley values (k,), fitted by least squares with the sum `everybody` - `nobody`, and their standard errors.

    listed: coalitions (e, k), their values (e,) and weights (e,).
    drawn: random coalitions in pairs with their complements (p, 2, k), their values (p, 2), and their total weight. Without
    drawn coalitions the result is exact and its error zero.
    nobody, everybody: the values of the empty and the full coalition.

    The last player gets what the constraint leaves, so the others are fitted without constraint.
    """
    pairs, of_pairs, rest = drawn
    z = precise(torch.cat([listed[0].to(nobody.device), pairs.flatten(0, 1).to(nobody.device)]), nobody)
    v = precise(torch.cat([listed[1], of_pairs.flatten()]), nobody)
    each = torch.full((2 * len(pairs),), rest / max(1, 2 * len(pairs)))
    w = precise(torch.cat([listed[2], each]), nobody)
    total = precise(everybody - nobody, nobody)
    z, v = z[:, :-1] - z[:, -1:], v - precise(nobody, nobody) - z[:, -1] * total
    inverse = torch.linalg.pinv(z.T @ (w[:, None] * z), hermitian=True)
    free = inverse @ (z.T @ (w * v))
    values = torch.cat([free, (total - free.sum())[None]])
    influence = ((w * (v - z @ free))[:, None] * z @ inverse)[len(listed[0]) :].view(len(pairs), 2, len(free)).sum(1)
    influence = torch.cat([influence, -influence.sum(1, keepdim=True)], 1)
    return values, _spread(influence)


def _spread(influence: Tensor) -> Tensor:
    """Returns the standard error (k,) of the sum of p independent terms (p, k)."""
    p = len(influence)
    if p == 1:
        return torch.full_like(influence[0], torch.inf)
    centred = influence - influence.sum(0) / max(p, 1)
    return (centred.square().sum(0) * (p / max(p - 1, 1))).sqrt()


def precise(tensor: Tensor, like: Tensor) -> Tensor:
    """Moves a tensor to the device of `like`, in double precision, or in single where the device has no double (MPS)."""
    return tensor.to(like.device, torch.float32 if like.device.type == "mps" else torch.float64)
