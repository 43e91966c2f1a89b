"""Describes normalisations by statistics of their input: over which axes they normalise, and what they do afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tapetum.models.operations.call import Call


@dataclass(frozen=True, eq=False)
class Norm:
    """Normalisation (x - mean) / sqrt(mean of squares + eps) * weight + bias.

    shape    x is reshaped to it and normalised over its last axes, `dims`
    weight   broadcasts against x in its own shape, and so does bias; None: none
    centred  whether the mean is subtracted (RMS norm does not)
    """

    shape: Sequence[int]
    dims: tuple[int, ...]
    weight: Tensor | None
    bias: Tensor | None
    eps: float
    centred: bool = True

    def centre(self, x: Tensor) -> Tensor:
        """Reshapes x to `shape` and, if `centred`, subtracts its mean over `dims`."""
        grouped = x.reshape(self.shape)
        return grouped - grouped.mean(self.dims, keepdim=True) if self.centred else grouped


def norm_of(call: Call) -> Norm | None:
    """Describes a call of layer, group, instance or RMS norm; None for other calls and for instance norm by running statistics.

    The last computes what a batch norm does.
    """
    x: Tensor = call.main
    if call.name == "layer_norm":
        return Norm(x.shape, _last(call), call.get(2, "weight"), call.get(3, "bias"), call.get(4, "eps", 1e-5))
    if call.name == "rms_norm":
        eps = call.get(3, "eps")
        return Norm(x.shape, _last(call), call.get(2, "weight"), None, torch.finfo(x.dtype).eps if eps is None else eps, False)
    if call.name == "group_norm":
        return _grouped(x, call.get(1, "num_groups"), call.get(2, "weight"), call.get(3, "bias"), call.get(4, "eps", 1e-5))
    if call.name == "instance_norm" and call.get(5, "use_input_stats", True):
        own = norm_tensors(call)
        return _grouped(x, x.shape[1], own["weight"], own["bias"], call.get(7, "eps", 1e-5))
    return None


def _last(call: Call) -> tuple[int, ...]:
    return tuple(range(-len(call.get(1, "normalized_shape")), 0))


def _grouped(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Norm:
    by_channel = (1, -1, *(1,) * (x.ndim - 2))
    weight, bias = (None if one is None else one.view(by_channel) for one in (weight, bias))
    return Norm((len(x), groups, -1), (2,), weight, bias, eps)


_ORDERS = dict.fromkeys((torch.batch_norm, torch.instance_norm), ("weight", "bias", "running_mean", "running_var"))


def norm_tensors(call: Call) -> dict[str, Tensor | None]:
    """Returns weight, bias and running statistics of a batch or instance norm by name; torch and F differ in their order."""
    names = _ORDERS.get(call.function, ("running_mean", "running_var", "weight", "bias"))
    return {name: call.get(place, name) for place, name in enumerate(names, 1)}
