"""Guided backprop, deconvnet, guided Grad-CAM: captum's where ReLUs are modules, and right where they are functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from oracle_networks import model, network, relative, side
from torch import Tensor
from zoo import pictures

import tapetum as tp

pytestmark = pytest.mark.oracle


def images(name: str) -> Tensor:
    return pictures(2, side(name), dtype=torch.float32)


def test_equals_captums_bit_for_bit_on_relu_modules() -> None:
    x = images("resnet18")
    theirs = captum.attr.GuidedBackprop(network("resnet18")).attribute(x.clone().requires_grad_(), [3, 1])
    assert torch.equal(tp.guided_backprop(model("resnet18"), x, [3, 1]).values, theirs.detach())


def test_deconvnet_equals_captums_bit_for_bit_on_relu_modules() -> None:
    x = images("resnet18")
    theirs = captum.attr.Deconvolution(network("resnet18")).attribute(x.clone().requires_grad_(), [3, 1])
    assert torch.equal(tp.deconvnet(model("resnet18"), x, [3, 1]).values, theirs.detach())


def test_guided_grad_cam_is_captums_but_for_the_upsampling() -> None:
    """captum upsamples the CAM to the nearest place, the paper bilinearly: with its upsampling, our factors are its product."""
    x, net = images("resnet18"), network("resnet18")
    peer = captum.attr.GuidedGradCam(net, net.layer3)  # 6 x 6 places, so that upsampling matters
    theirs = peer.attribute(x.clone().requires_grad_(), [3, 1], interpolate_mode="nearest")
    ours = tp.guided_grad_cam(model("resnet18"), x, [3, 1], layer="layer3")
    guided = tp.guided_backprop(model("resnet18"), x, [3, 1]).values
    cam = tp.grad_cam(model("resnet18"), x, [3, 1], layer="layer3").heatmap(None)[:, None]
    nearest = guided * F.interpolate(cam, x.shape[-2:], mode="nearest")
    assert relative(nearest, theirs.detach()) < 1e-5  # single precision
    bilinear = guided * F.interpolate(cam, x.shape[-2:], mode="bilinear", align_corners=False)
    assert relative(ours.values, bilinear) < 1e-5
    assert relative(ours.values, theirs.detach()) > 0.05


class DeconvolvedReLU(torch.autograd.Function):
    """Zeiler & Fergus 2014: the ReLU is applied to what goes back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * (x > 0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * (grad > 0)


class GuidedReLU(torch.autograd.Function):
    """Springenberg et al. 2015, written as the paper does: both the input and the arriving gradient must be positive."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * (x > 0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (grad > 0) * (x > 0)


@contextmanager
def _patched(monkeypatch: pytest.MonkeyPatch, relu: type[torch.autograd.Function] = GuidedReLU) -> Iterator[None]:
    guided: Callable[..., Tensor] = lambda x, inplace=False: relu.apply(x)  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(F, "relu", guided)
        patch.setattr(torch, "relu", guided)
        patch.setattr(Tensor, "relu", guided)
        yield


@pytest.mark.parametrize("name", ["googlenet", "functional"])
def test_functional_relus_obey_where_captums_silently_gives_the_plain_gradient(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, net, targets = images(name), network(name), [3, 1]
    ours = tp.guided_backprop(model(name), x, targets).values

    leaf = x.clone().requires_grad_()
    with _patched(monkeypatch):
        (expected,) = torch.autograd.grad(net(leaf)[range(2), targets].sum(), leaf)
    assert relative(ours, expected) < 1e-5  # single precision

    (plain,) = torch.autograd.grad(net(leaf)[range(2), targets].sum(), leaf)
    theirs = captum.attr.GuidedBackprop(net).attribute(leaf, targets)
    assert torch.equal(theirs.detach(), plain)  # the reason for rules that follow operations and not modules
    assert relative(ours, plain) > 0.1


@pytest.mark.parametrize("name", ["googlenet", "functional"])
def test_deconvnet_obeys_functional_relus_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, net = images(name), network(name)
    leaf = x.clone().requires_grad_()
    with _patched(monkeypatch, DeconvolvedReLU):
        (expected,) = torch.autograd.grad(net(leaf)[range(2), [3, 1]].sum(), leaf)
    assert relative(tp.deconvnet(model(name), x, [3, 1]).values, expected) < 1e-5  # single precision


def test_every_spelling_of_relu_gives_the_same_answer() -> None:
    spellings: dict[str, Callable[[Tensor], Tensor]] = {
        "nn.ReLU": torch.nn.ReLU(),
        "nn.ReLU in place": torch.nn.ReLU(inplace=True),
        "F.relu": F.relu,
        "F.relu in place": lambda x: F.relu(x, inplace=True),
        "F.relu_": F.relu_,
        "torch.relu": torch.relu,
        "torch.relu_": torch.relu_,
        "x.relu": lambda x: x.relu(),
        "x.relu_": lambda x: x.relu_(),
        "clamp": lambda x: torch.clamp(x, min=0),
        "x.clamp": lambda x: x.clamp(0),
        "x.clamp_": lambda x: x.clamp_(min=0.0),
        "clamp_min": lambda x: torch.clamp_min(x, 0),
        "x.clamp_min_": lambda x: x.clamp_min_(0),
        "x.clip": lambda x: x.clip(0, None),
        "threshold": lambda x: F.threshold(x, 0, 0),
        "hardtanh": lambda x: F.hardtanh(x, 0.0, 1e9),
        "ReLU6, far from six": lambda x: F.relu6(x / 100) * 100,
    }

    class Net(torch.nn.Module):
        def __init__(self, relu: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.one, self.two = torch.nn.Conv2d(3, 6, 3), torch.nn.Conv2d(6, 6, 3)
            self.linear = torch.nn.Linear(6, 4)
            self.relu = relu

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.relu(self.two(self.relu(self.one(x)))).mean((2, 3)))

    x = pictures(1)
    values = {}
    with torch.random.fork_rng(devices=[]):
        for name, relu in spellings.items():
            one = tp.wrap(Net(relu).double(), size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
            values[name] = tp.guided_backprop(one, x, 2).values
    first = values["nn.ReLU"]
    assert {name: relative(one, first) < 1e-12 for name, one in values.items()} == dict.fromkeys(spellings, True)
