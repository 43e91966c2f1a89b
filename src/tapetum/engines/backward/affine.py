"""Describes executed convolutions, linear layers and normalisations (statistics held constant) as affine operations."""

from __future__ import annotations

from torch import Tensor

from tapetum.engines.backward.equations import Affine
from tapetum.models.operations.call import Call
from tapetum.models.operations.norms import norm_of, norm_tensors


def weighted(call: Call) -> Affine:
    """Returns an executed convolution (also transposed) or linear layer as an affine operation of its input."""
    function, rest = call.function, call.args[3:]
    named = {key: value for key, value in call.kwargs.items() if key not in ("input", "weight", "bias")}

    def apply(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return function(x, weight, bias, *rest, **named)

    return Affine(apply, call.main, call.get(1, "weight"), call.get(2, "bias"), call.name)


def batch_norm_scale(call: Call) -> tuple[Tensor, Tensor] | None:
    """Returns factor and shift (c,) of a batch-norm in eval mode; None where it uses the statistics of its batch."""
    own = norm_tensors(call)
    mean, variance, weight, bias = own["running_mean"], own["running_var"], own["weight"], own["bias"]
    if mean is None or variance is None or call.get(5, "training", False):
        return None
    factor = (variance + call.get(7, "eps", 1e-5)).rsqrt()
    factor = factor if weight is None else factor * weight
    shift = -mean * factor
    return factor, shift if bias is None else shift + bias


def channelwise(x: Tensor, factor: Tensor, shift: Tensor) -> Affine:
    """Returns factor * x + shift, channel by channel, as an affine operation."""
    shape = (1, -1, *(1,) * (x.ndim - 2))
    return Affine(_scaled, x, factor.view(shape), shift.view(shape))


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def normalization(call: Call) -> Affine | None:
    """Returns a layer, group, instance or RMS norm as (x - mean(x)) / deviation * weight + bias with a constant deviation."""
    norm = norm_of(call)
    if norm is None:
        return None
    grouped, dims = call.main.detach().reshape(norm.shape), norm.dims
    power = grouped.var(dims, correction=0, keepdim=True) if norm.centred else grouped.square().mean(dims, keepdim=True)
    factor = (power + norm.eps).rsqrt()

    def apply(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return _scaled((norm.centre(x) * factor).view_as(x), weight, bias)

    return Affine(apply, call.main, norm.weight, norm.bias)
