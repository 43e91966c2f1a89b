"""Slopes: linear maps that equal an operation's change between two runs, applied to zeros that carry the autograd graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.models.operations.call import Call
from tapetum.models.operations.kinds import FUNCTIONS, MATRIX_PRODUCTS, NORMALISATIONS, SOFTMAXES
from tapetum.models.operations.norms import norm_of

PRODUCTS = MATRIX_PRODUCTS | {"mul"}
MAXIMA: dict[str, tuple[Callable[..., Any], int]] = {
    "max_pool1d": (F.max_pool1d_with_indices, 1),
    "max_pool2d": (F.max_pool2d_with_indices, 2),
    "max_pool3d": (F.max_pool3d_with_indices, 3),
    "adaptive_max_pool1d": (F.adaptive_max_pool1d_with_indices, 1),
    "adaptive_max_pool2d": (F.adaptive_max_pool2d_with_indices, 2),
    "adaptive_max_pool3d": (F.adaptive_max_pool3d_with_indices, 3),
}

Slope = Callable[[Call, Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], Tensor]
"""Function of (call, inputs for the image, inputs for the reference, zeros): the change, a linear map of the zeros."""


def slope_of(call: Call) -> Slope | None:
    """Returns the slope function of a nonlinear operation; None if it is linear or has no rule."""
    signals = len(call.signals)
    if call.name in FUNCTIONS and signals == 1:
        return _elementwise
    if call.name in PRODUCTS and signals == 2:
        return _product
    if call.name in SOFTMAXES:
        return _softmax
    if call.name in NORMALISATIONS and signals == 1 and norm_of(call) is not None:
        return _normalisation
    return _maximum if call.name in MAXIMA else None


def _slope(change: Tensor, difference: Tensor, scale: Tensor, otherwise: Tensor) -> Tensor:
    """Returns change / difference; where the difference is only rounding error, `otherwise` (the derivative)."""
    same = difference.abs() <= 8 * torch.finfo(difference.dtype).eps * scale
    return torch.where(same, otherwise, change / difference.masked_fill(same, 1)).nan_to_num(0, 0, 0)


def _elementwise(call: Call, now: Sequence[Tensor], before: Sequence[Tensor], zeros: Sequence[Tensor]) -> Tensor:
    (z,), (z0,), (zero,) = now, before, zeros
    with torch.enable_grad():
        leaf = z.clone().requires_grad_()
        value = call.with_signals(leaf.clone())()
        (derivative,) = torch.autograd.grad(value, leaf, torch.ones_like(value))
    change = value.detach() - call.with_signals(z0.clone())()
    return _slope(change, z - z0, z.abs() + z0.abs(), derivative) * zero


def _product(call: Call, now: Sequence[Tensor], before: Sequence[Tensor], zeros: Sequence[Tensor]) -> Tensor:
    a, b = ((one + other) / 2 for one, other in zip(now, before, strict=True))
    return call.with_signals(zeros[0], b)() + call.with_signals(a, zeros[1])()


def _softmax(call: Call, now: Sequence[Tensor], before: Sequence[Tensor], zeros: Sequence[Tensor]) -> Tensor:
    """Splits the change of softmax e / s, or log-softmax z - c - log s: e = exp(z - c), s = sum of e, one c for both runs."""
    (z,), (z0,), dim = now, before, call.get(1, "dim")
    zero = zeros[0].nan_to_num(0)  # for masked places, -inf in both runs
    c = torch.maximum(z, z0).amax(dim, keepdim=True)
    e, e0 = (z - c).exp(), (z0 - c).exp()
    s, s0 = e.sum(dim, keepdim=True), e0.sum(dim, keepdim=True)
    each = _slope(e - e0, z - z0, z.abs() + z0.abs(), e) * zero
    total = each.sum(dim, keepdim=True)
    if call.name == "log_softmax":
        return zero - _slope(s.log() - s0.log(), s - s0, s + s0, 1 / s) * total
    return _scaled(e, e0, 1 / s, 1 / s0, each, -total / (s * s0))


def _normalisation(call: Call, now: Sequence[Tensor], before: Sequence[Tensor], zeros: Sequence[Tensor]) -> Tensor:
    """Splits the change of c * r * weight, c = z - mean (but in an RMS norm z), r = 1 / sqrt(mean of c^2 + eps)."""
    norm = norm_of(call)
    assert norm is not None  # as `slope_of` found
    c, c0, change = (norm.centre(one[0]) for one in (now, before, zeros))
    r, r0 = (((one * one).mean(norm.dims, keepdim=True) + norm.eps).rsqrt() for one in (c, c0))
    spread = ((c + c0) * change).mean(norm.dims, keepdim=True)
    result = _scaled(c, c0, r, r0, change, -((r * r0) ** 2) / (r + r0) * spread).view_as(now[0])
    return result if norm.weight is None else result * norm.weight


def _scaled(c: Tensor, c0: Tensor, r: Tensor, r0: Tensor, change_c: Tensor, change_r: Tensor) -> Tensor:
    """Splits the change of c * r, r > 0 a normaliser, into that of c times the smaller r and that of r times the other run's c.

    The two add up to the whole change and stay bounded: on a flat reference r0 is 1 / sqrt(eps), and the two terms of the
    usual product rule would be huge and cancel.
    """
    return torch.minimum(r, r0) * change_c + torch.where(r > r0, c, c0) * change_r


def _maximum(call: Call, now: Sequence[Tensor], before: Sequence[Tensor], zeros: Sequence[Tensor]) -> Tensor:
    (z,), (z0,), (zero,), (pool, dims) = now, before, zeros, MAXIMA[call.name]
    value, place = replace(call.with_signals(z), function=pool)()
    value0, place0 = replace(call.with_signals(z0), function=pool)()
    at = torch.where(value >= value0, place, place0).flatten(-dims)
    difference, change = ((z - z0).flatten(-dims).gather(-1, at), (value - value0).flatten(-dims))
    slope = _slope(change, difference, value.abs().flatten(-dims), torch.ones_like(change))
    return (slope * zero.flatten(-dims).gather(-1, at)).view_as(value)
