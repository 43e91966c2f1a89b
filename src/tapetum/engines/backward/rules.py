"""Backward rules: each runs an operation and says what happens to the gradient that comes back through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tapetum.models.operations.call import Call

Rule = Callable[[Call], Any]
"""Gets an operation while the graph is recorded, with its inputs and parameters, and returns its output."""

Backward = Callable[[Tensor], "tuple[Tensor | None, ...]"]
"""Gradient that arrives at an output to the gradients of each of the inputs."""


def guided(call: Call) -> Tensor:
    """Guided backprop: R_in = R_out * (R_out > 0) * (x > 0). The second factor is the operation's own derivative."""
    output = call()
    output.register_hook(lambda grad: grad.clamp(min=0))
    return output


def deconvolved(call: Call) -> Tensor:
    """Deconvnet: R_in = R_out * (R_out > 0), whatever the input was: the ReLU acts on the signal that goes back."""
    return replaced(call, lambda grad: (grad.clamp(min=0),), call.main)


def replaced(run: Callable[[], Tensor], backward: Backward, *inputs: Tensor) -> Tensor:
    """The output of `run`, with another backward pass to its inputs."""
    return _Replaced.apply(run, _as_on_the_way_out(backward, inputs[0].device.type), *inputs)


def _as_on_the_way_out(backward: Backward, device: str) -> Backward:
    """Runs a backward in the precision that torch.autocast chose for the operation itself."""
    if not torch.is_autocast_enabled(device):
        return backward
    dtype = torch.get_autocast_dtype(device)

    def within(grad: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(device, dtype=dtype, cache_enabled=False):
            return backward(grad)

    return within


class _Replaced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: Callable[[], Tensor], backward: Backward, *inputs: Tensor) -> Tensor:
        ctx.arriving = backward
        return run()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, None, *ctx.arriving(*grads)
