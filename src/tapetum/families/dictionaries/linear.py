"""Dictionaries with linear codes: principal components, independent components, and the channels themselves."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from tapetum.types import MethodError
from tapetum.types.dictionaries import Dictionary

STEPS, STEADY = 400, 1e-7
"""Most steps of FastICA, and the change of a direction, 1 - |cosine|, below which all are steady."""


def pca(rows: Tensor, n: int, generator: Generator) -> Dictionary:
    """Principal components: the n orthogonal directions along which rows (m, c) vary most, about their mean.

    The sign of each is such that its codes have their longer tail on the positive side.
    """
    mean = rows.mean(0)
    directions = principal(rows - mean, n)[0]
    return _linear(rows, directions, directions, mean)


def principal(x: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Returns the n leading eigenvectors (n, c) of the covariance of centred rows, and their variances."""
    variances, vectors = torch.linalg.eigh(x.T @ x / len(x))
    return vectors.flip(1).T[:n], variances.flip(0)[:n].clamp(min=0)


def ica(rows: Tensor, n: int, generator: Generator) -> Dictionary:
    """Independent components: directions whose codes are as far from normal as can be (FastICA, log cosh, symmetric).

    Rows are whitened along their n principal components; W <- E[x g(Wx)] - E[g'(Wx)] W with g = tanh, made orthogonal by
    (W W')^(-1/2) after each step (hyvarinen2000ica). A direction is the column of the mixing matrix of its component.
    """
    mean = rows.mean(0)
    components, variances = principal(rows - mean, n)
    if bool(variances[-1] <= 1e-9 * variances[0]):
        rank = int((variances > 1e-9 * variances[0]).sum())
        raise MethodError(f"these activations vary along {rank} directions alone, so ica finds at most {rank}, not {n}")
    scale = variances.sqrt()[:, None]
    white = (rows - mean) @ (components / scale).T
    w = _orthogonal(torch.randn(n, n, generator=generator, dtype=torch.float64).to(rows))
    for _ in range(STEPS):
        g = (white @ w.T).tanh()
        new = _orthogonal(g.T @ white / len(white) - (1 - g.square()).mean(0)[:, None] * w)
        steady = bool((1 - (new * w).sum(1).abs()).max() < STEADY)
        w = new
        if steady:
            break
    mixing = (w * scale.T) @ components  # (n, c): white = W' z, x = white S C
    lengths = mixing.norm(dim=1, keepdim=True)
    return _linear(rows, mixing / lengths, lengths * (w @ (components / scale)), mean)


def _orthogonal(w: Tensor) -> Tensor:
    """Returns (W W')^(-1/2) W, the orthogonal matrix nearest to W."""
    u, _, v = torch.linalg.svd(w)
    return u @ v


def units(rows: Tensor, n: int, generator: Generator) -> Dictionary:
    """The n channels that vary most, each a direction of its own; the others are rebuilt as their mean."""
    kept = rows.var(0).argsort(descending=True, stable=True)[:n].sort().values
    directions = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)[kept]
    offset = rows.mean(0).index_fill(0, kept, 0)
    return Dictionary("linear", directions, offset, directions, rows.new_zeros(n))


def _linear(rows: Tensor, directions: Tensor, encoder: Tensor, mean: Tensor) -> Dictionary:
    """Returns a dictionary with the longer tail of each code on its positive side, the strongest concept first."""
    codes = (rows - mean) @ encoder.T
    sign = torch.where((codes**3).sum(0) < 0, -1.0, 1.0).to(rows)[:, None]
    order = codes.square().sum(0).argsort(descending=True, stable=True)
    return Dictionary("linear", (sign * directions)[order], mean, (sign * encoder)[order], rows.new_zeros(len(order)))
