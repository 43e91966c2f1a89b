"""What torch puts around a network is taken off; what a user puts around it is the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from zoo import net, pictures, wrapped

import tapetum as tp
from tapetum.types import ModelError

IMAGES = pictures(2)


def test_what_torch_wraps_around_a_module_is_taken_off() -> None:
    module = net("reused")
    assert tp.wrap(nn.DataParallel(module)).module is module
    assert tp.wrap(nn.DataParallel(module)).name == "Reused"
    averaged = AveragedModel(module)
    with torch.no_grad():
        averaged.module.head.linear.weight.mul_(3)
    assert tp.wrap(averaged).module is averaged.module
    assert tp.wrap(nn.DataParallel(nn.DataParallel(averaged))).module is averaged.module
    compiled: Any = torch.compile(module)
    assert tp.wrap(compiled).module is module
    assert tp.wrap(nn.DataParallel(compiled)).module is module
    assert torch.equal(tp.saliency(wrapped(compiled), IMAGES, 1).values, tp.saliency(wrapped(module), IMAGES, 1).values)


class Normalises(nn.Module):
    """A wrapper as anybody writes it: the network in `.module`, alone."""

    def __init__(self, module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.module, self.change = module, change

    def forward(self, images: Tensor) -> Tensor:
        return -self.module(self.change(images))


class Negated(nn.DataParallel):
    """A subclass with a forward of its own is no DataParallel."""

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return -self.module(*inputs, **kwargs)


class OriginalInside(nn.Module):
    """The name that torch.compile uses, in a module of the user's."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._orig_mod = module

    def forward(self, images: Tensor) -> Tensor:
        return self._orig_mod(images * 2)


@pytest.mark.parametrize(
    "outside",
    [lambda module: Normalises(module, lambda x: x * 3 - 1), Negated, OriginalInside],
    ids=["module", "subclass", "_orig_mod"],
)
def test_a_wrapper_of_the_users_own_is_the_model(outside: Callable[[nn.Module], nn.Module]) -> None:
    module = outside(net("functional")).eval()
    inputs = IMAGES.clone().requires_grad_()
    (expected,) = torch.autograd.grad(module(inputs)[:, 2].sum(), inputs)
    torch.testing.assert_close(tp.input_x_gradient(wrapped(module), IMAGES, 2).values, expected * IMAGES)
    torch.testing.assert_close(wrapped(module)(IMAGES), module(IMAGES).detach())


def test_hooks_on_what_is_taken_off_are_refused() -> None:
    outside = nn.DataParallel(net("reused"))
    outside.register_forward_pre_hook(lambda _module, inputs: (inputs[0] * 2,))
    with pytest.raises(
        ModelError, match="DataParallel has hooks of its own, which are not seen: put them on the module inside"
    ):
        tp.wrap(outside)
