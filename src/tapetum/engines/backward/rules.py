"""Backward rules: functions that run an operation and change the gradient that comes back through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tapetum.models.operations.call import Call

Rule = Callable[[Call], Any]
"""Function that runs one recorded operation, with its inputs and parameters, and returns its output."""

Backward = Callable[[Tensor], "tuple[Tensor | None, ...]"]
"""Function from the gradient at an operation's output to the gradients at each of its inputs."""


def guided(call: Call) -> Tensor:
    """Guided backprop: R_in = R_out * (R_out > 0) * (x > 0). The second factor is the operation's own derivative."""
    output = call()
    output.register_hook(lambda grad: grad.clamp(min=0))
    return output


def deconvolved(call: Call) -> Tensor:
    """Deconvnet: R_in = R_out * (R_out > 0), whatever the input was: the ReLU acts on the signal that goes back."""
    return replaced(call, lambda grad: (grad.clamp(min=0),), call.main)


def replaced(run: Callable[[], Tensor], backward: Backward, *inputs: Tensor) -> Tensor:
    """Returns the output of `run`; gradients go back from it to `inputs` by the function `backward`."""
    return _Replaced.apply(run, _as_on_the_way_out(backward, inputs[0].device.type), *inputs)


def _as_on_the_way_out(backward: Backward, device: str) -> Backward:
    """Wraps a backward function so that it runs in the precision that torch.autocast chose for the forward operation."""
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
