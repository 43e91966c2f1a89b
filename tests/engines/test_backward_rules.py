"""Rules for the backward pass end with their block and stay in their thread."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo import Head, conv, pictures, shared, wrapped

import tapetum as tp
from tapetum.engines.backward import backward_rules, guided
from tapetum.models.operations.call import Call
from tapetum.models.vision_model import VisionModel
from tapetum.types import MethodError


def gradient(x: Tensor, weight: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad((F.relu(leaf) * weight).sum(), leaf)
    return grad


X = torch.tensor([-1.0, 2.0, 3.0, -4.0])
WEIGHT = torch.tensor([1.0, -1.0, 1.0, -1.0])
PLAIN = torch.tensor([0.0, -1.0, 1.0, 0.0])
GUIDED = torch.tensor([0.0, 0.0, 1.0, 0.0])


def test_a_rule_ends_with_its_block_also_after_an_error() -> None:
    with backward_rules({"relu": guided}) as applied:
        assert torch.equal(gradient(X, WEIGHT), GUIDED)
    assert applied.count == 1
    assert torch.equal(gradient(X, WEIGHT), PLAIN)
    with pytest.raises(KeyError), backward_rules({"relu": guided}):
        raise KeyError
    assert torch.equal(gradient(X, WEIGHT), PLAIN)


def test_a_rule_in_one_thread_does_not_leak_into_another() -> None:
    inside, done = threading.Event(), threading.Event()
    seen: dict[str, Tensor] = {}

    def other() -> None:
        inside.wait(10)
        seen["other"] = gradient(X, WEIGHT)
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with backward_rules({"relu": guided}):
        inside.set()
        assert done.wait(10)
        seen["own"] = gradient(X, WEIGHT)
    thread.join()
    assert torch.equal(seen["other"], PLAIN)
    assert torch.equal(seen["own"], GUIDED)


def test_forward_values_do_not_change_under_a_rule() -> None:
    model, images = shared("functional"), pictures(1)
    plain = model(images)
    with torch.enable_grad(), backward_rules({"relu": guided}):
        assert torch.equal(model(images.clone().requires_grad_()), plain)


def test_what_is_no_relu_is_left_alone() -> None:
    x = torch.randn(3)
    assert Call(torch.clamp, (x,), {"min": 0.1}).operation is None
    assert Call(torch.clamp, (x, -1), {}).operation is None
    assert Call(torch.clamp, (x,), {"max": 0}).operation is None
    assert Call(torch.clamp, (x,), {"min": torch.zeros(3)}).operation is None  # a tensor may hold anything
    assert Call(F.leaky_relu, (x,), {}).operation == "activation"
    assert Call(F.gelu, (x,), {}).operation == "activation"
    assert Call(F.hardtanh, (x,), {}).operation == "squash"
    assert Call(torch.Tensor.reshape, (x, 3), {}).operation is None
    assert Call(F.threshold, (x, 0.5, 0), {}).operation is None
    assert Call(torch.clamp, (x, 0, 6), {}).operation == "relu"


def test_a_relu_on_the_way_of_an_index_is_no_reason_to_count() -> None:
    """Only operations that the gradient passes count, so a network whose ReLU sits on constants is refused."""
    with torch.no_grad(), backward_rules({"relu": guided}) as applied:
        F.relu(X)
    assert applied.count == 0


def test_relus_before_a_plateau_pass_nothing_and_positive_paths_everything() -> None:
    """With positive weights only, guided backprop is the plain gradient: nothing arrives negative."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 196, 2))
    with torch.no_grad():
        for weight in net.parameters():
            weight.abs_()
    model = tp.wrap(net.double(), size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
    images = pictures(1)
    assert torch.equal(tp.guided_backprop(model, images, 0).values.abs(), tp.saliency(model, images, 0).values)


class OwnReLU(torch.autograd.Function):
    """Written without a ReLU, so that only its backward pass tells what it is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * (x > 0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * (x > 0)


class Swish(torch.autograd.Function):
    """No ReLU: nothing for the rules to miss."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.relu() - (-x).relu() * 0.1 * x.sigmoid()  # a ReLU inside, which the rules do not reach either

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * (0.5 + x.sigmoid())


def of_its_own(*middle: type[torch.autograd.Function], relu: bool = True) -> VisionModel:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.head = conv(3, 6), conv(6, 8), Head(8)

        def forward(self, images: Tensor) -> Tensor:
            x = self.one(images)
            x = x.relu() if relu else x
            x = self.two(x)
            for one in middle:
                x = one.apply(x)
            return self.head(x)

    return wrapped(Own().double())


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet", "guided_grad_cam"])
def test_a_relu_that_is_an_operation_of_its_own_is_refused_by_name(method: str, relu: bool) -> None:
    with pytest.raises(MethodError, match="OwnReLU in net works as a ReLU but is an operation of its own"):
        getattr(tp, method)(of_its_own(OwnReLU, relu=relu), pictures(1), 1)


def test_another_operation_of_its_own_goes_back_as_it_does() -> None:
    model, images = of_its_own(Swish), pictures(1)
    net = model.module.eval()
    leaf = images.clone().requires_grad_()
    first = net.one(leaf)
    values = net.head(Swish.apply(net.two(first.relu())))[:, 1].sum()
    (arriving,) = torch.autograd.grad(values, first, retain_graph=True)  # times (x > 0)
    (wanted,) = torch.autograd.grad(first, leaf, arriving.clamp(min=0))
    torch.testing.assert_close(tp.guided_backprop(model, images, 1).values, wanted)
    with pytest.raises(MethodError, match="has no ReLU"):  # the one inside of the operation is none that a rule reaches
        tp.guided_backprop(of_its_own(Swish, relu=False), images, 1)
