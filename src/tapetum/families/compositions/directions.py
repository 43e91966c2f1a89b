"""Non-negative matrix factorisation: the activation at each place as a mixture of a few directions in channel space.

A map (c, h, w) is treated as h x w rows of c numbers. Each row is approximated by a sum of directions with non-negative
weights: a direction is a pattern that the layer detects, and its weights say where.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tapetum.types import MethodError

ENOUGH = 1e-5
"""Updates end when ten of them lower the error by less than this share of it."""


@dataclass(frozen=True, eq=False)
class Factors:
    """The factors of values ~ shares @ directions, strongest direction first.

    shares      (n, k) >= 0, weight of each direction in each row
    directions  (k, c) >= 0, of length 1
    errors      (s,) |values - shares @ directions| / |values| after each update
    """

    shares: Tensor
    directions: Tensor
    errors: Tensor


def factorize(values: Tensor, n_groups: int, *, seed: int = 0, n_steps: int = 500) -> Factors:
    """Factorises non-negative rows V (n, c) into W (n, k), H (k, c) >= 0: min |V - W H|^2, by multiplicative updates.

    H <- H * (W'V) / (W'W H), W <- W * (V H') / (W H H'), from seeded noise: the error never rises (lee2001nmf). A tiny number
    in both halves of a fraction keeps that true where they are zero. Refuses negative or non-finite values, values that are
    zero everywhere, and more groups than rows or columns.
    """
    v = values.to(torch.promote_types(values.dtype, torch.float32))
    _check(v, n_groups)
    length = v.norm()
    w, h = _begin(v, n_groups, seed)
    tiny = torch.finfo(v.dtype).tiny
    errors: list[Tensor] = []
    for _ in range(n_steps):
        h = h * ((w.T @ v + tiny) / (w.T @ w @ h + tiny))
        w = w * ((v @ h.T + tiny) / (w @ (h @ h.T) + tiny))
        errors.append((v - w @ h).norm() / length)
        if len(errors) > 10 and errors[-11] - errors[-1] <= ENOUGH * errors[-11]:
            break
    lengths = h.norm(dim=1).clamp(min=tiny)
    w, h = w * lengths, h / lengths[:, None]
    order = w.norm(dim=0).argsort(descending=True, stable=True)
    return Factors(w[:, order].to(values.dtype), h[order].to(values.dtype), torch.stack(errors))


def _begin(v: Tensor, n_groups: int, seed: int) -> tuple[Tensor, Tensor]:
    """Returns initial W and H: noise in [.5, 1.5], drawn on the CPU, scaled so that W H is about as large as V."""
    generator = torch.Generator().manual_seed(seed)
    size = (v.mean() / n_groups).sqrt()
    shapes = ((len(v), n_groups), (n_groups, v.shape[1]))
    w, h = (torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5 for shape in shapes)
    return w.to(v) * size, h.to(v) * size


def _check(v: Tensor, n_groups: int) -> None:
    if not v.isfinite().all() or (v < 0).any() or not v.any():
        raise MethodError("non-negative factors are of finite numbers from 0 up that are not all zero")
    if not 1 <= n_groups <= min(v.shape):
        raise MethodError(f"{v.shape[0]} rows of {v.shape[1]} numbers have 1 to {min(v.shape)} groups, not {n_groups}")
