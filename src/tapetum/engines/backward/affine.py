"""Executed operations as affine ones: convolutions, linear layers, and normalisations with their statistics held constant."""

from __future__ import annotations

import torch
from torch import Tensor

from tapetum.engines.backward.equations import Affine
from tapetum.engines.backward.operations import Call


def weighted(call: Call) -> Affine:
    """conv(x, weight, bias, stride, ...), also transposed, and linear(x, weight, bias)."""
    function, rest = call.function, call.args[3:]
    named = {key: value for key, value in call.kwargs.items() if key not in ("input", "weight", "bias")}

    def apply(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return function(x, weight, bias, *rest, **named)

    return Affine(apply, call.main, call.get(1, "weight"), call.get(2, "bias"), call.name)


def batch_norm_scale(call: Call) -> tuple[Tensor, Tensor] | None:
    """y = factor * x + shift of a batch-norm in eval mode, per channel; None where it uses the batch's own statistics."""
    mean, variance = call.get(1, "running_mean"), call.get(2, "running_var")
    if mean is None or variance is None or call.get(5, "training", False):
        return None
    weight, bias = call.get(3, "weight"), call.get(4, "bias")
    factor = (variance + call.get(7, "eps", 1e-5)).rsqrt()
    factor = factor if weight is None else factor * weight
    shift = -mean * factor
    return factor, shift if bias is None else shift + bias


def channelwise(x: Tensor, factor: Tensor, shift: Tensor) -> Affine:
    """factor * x + shift, channel by channel."""
    shape = (1, -1, *(1,) * (x.ndim - 2))
    return Affine(_scaled, x, factor.view(shape), shift.view(shape))


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def normalization(call: Call) -> Affine | None:
    """Layer, group, instance and RMS norm: (x - mean(x)) / deviation * weight + bias with the deviation held constant."""
    x = call.main
    groups = {"group_norm": call.get(1, "num_groups"), "instance_norm": x.shape[1]}.get(call.name)
    if call.name == "instance_norm" and not call.get(5, "use_input_stats", True):
        return None
    start = {"layer_norm": 2, "rms_norm": 2, "group_norm": 2, "instance_norm": 3}[call.name]
    weight = call.get(start, "weight")
    bias = None if call.name == "rms_norm" else call.get(start + 1, "bias")
    if groups is None:
        return _normalized(call, x, tuple(range(-len(call.get(1, "normalized_shape")), 0)), weight, bias)
    shape = (1, -1, *(1,) * (x.ndim - 2))
    weight, bias = (None if one is None else one.view(shape) for one in (weight, bias))
    return _grouped(call, x, groups, weight, bias)


def _normalized(call: Call, x: Tensor, dims: tuple[int, ...], weight: Tensor | None, bias: Tensor | None) -> Affine:
    centred, eps = call.name != "rms_norm", _eps(call, x)
    power = x.detach().var(dims, correction=0, keepdim=True) if centred else x.detach().square().mean(dims, keepdim=True)
    factor = (power + eps).rsqrt()

    def apply(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return _scaled((x - x.mean(dims, keepdim=True) if centred else x) * factor, weight, bias)

    return Affine(apply, x, weight, bias)


def _grouped(call: Call, x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None) -> Affine:
    factor = (x.detach().reshape(len(x), groups, -1).var(2, correction=0, keepdim=True) + _eps(call, x)).rsqrt()

    def apply(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        grouped = x.reshape(len(x), groups, -1)
        return _scaled(((grouped - grouped.mean(2, keepdim=True)) * factor).view_as(x), weight, bias)

    return Affine(apply, x, weight, bias)


def _eps(call: Call, x: Tensor) -> float:
    position = {"layer_norm": 4, "group_norm": 4, "rms_norm": 3, "instance_norm": 7}[call.name]
    given = call.get(position, "eps", torch.finfo(x.dtype).eps if call.name == "rms_norm" else 1e-5)
    return torch.finfo(x.dtype).eps if given is None else given
