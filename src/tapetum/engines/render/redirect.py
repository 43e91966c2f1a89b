"""Redirected ReLUs give gradients to units that do not respond to noise. For rendering only, never for attributions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from tapetum.engines.backward import backward_rules
from tapetum.engines.backward.rules import replaced
from tapetum.models.operations.call import Call


@contextmanager
def redirected_relus() -> Iterator[None]:
    """Redirects ReLUs inside the block: instead of blocking all of an image's gradient, a ReLU passes what would open it.

    With the input x and the gradient G of the objective at the output, it passes back G * (0 < x < 6); where this is zero at
    every position of an image, it passes back G * (x <= 0 and G > 0, or x >= 6 and G < 0). The bound 6 applies to ReLU6.
    Source: lucid's redirected ReLU (olah2017feature).
    """
    with backward_rules({"relu": _redirected}):
        yield


def _redirected(call: Call) -> Tensor:
    x = call.main
    with torch.no_grad():
        passes = call() == x

    def backward(grad: Tensor) -> tuple[Tensor]:
        plain = grad * passes
        open_ = plain.flatten(1).any(1)
        if bool(open_.all()):  # nearly always so; the lines below cost more than the network's own pass
            return (plain,)
        opening = torch.where(passes, grad, torch.where(x <= 0, grad.clamp(min=0), grad.clamp(max=0)))
        return (torch.where(open_.view(-1, *[1] * (grad.ndim - 1)), plain, opening),)

    return replaced(call, backward, x)
