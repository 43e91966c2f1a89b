"""The same numbers as captum 0.9.0's DeepLift, where that is complete: module activations, each used once.

Where it is not (`F.relu`, a maximum before another nonlinearity) its values do not sum to the score's change, so they
cannot be the rescale rule's; a ReLU module used twice it refuses. Tolerance 1e-12: float64, the same sums in another order.
"""

from __future__ import annotations

import captum.attr
import pytest
import torch
from oracle_networks import model, network, relative, side
from torch import Tensor, nn
from zoo import pictures, wrapped

import tapetum as tp

pytestmark = pytest.mark.oracle

TARGETS = [3, 1]
ACTIVATIONS = [nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Sigmoid, nn.Tanh, nn.Softplus]


class Shortcut(nn.Module):
    """A residual block whose activations are modules of their own."""

    def __init__(self, activation: type[nn.Module]) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)) + x)


def chain(activation: type[nn.Module], *pooling: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3, padding=1), *pooling, activation(), Shortcut(activation), nn.AvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.LazyLinear(5)).double().eval()


def change(net: nn.Module, x: Tensor, baseline: Tensor) -> Tensor:
    with torch.no_grad():
        return (net(x) - net(baseline))[range(2), TARGETS]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_networks_of_modules_agree(activation: type[nn.Module]) -> None:
    net, x, baseline = chain(activation), pictures(2), 0.5 * pictures(2, seed=1)
    net(x)
    theirs = captum.attr.DeepLift(net).attribute(x.clone().requires_grad_(), baseline.clone(), TARGETS).detach()
    assert relative(tp.deep_lift(wrapped(net), x, TARGETS, baseline=baseline).values, theirs) < 1e-12


def test_a_maximum_without_a_nonlinearity_behind_agrees() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 64, 5)).double().eval()
    x, baseline = pictures(2), 0.5 * pictures(2, seed=1)
    theirs = captum.attr.DeepLift(net).attribute(x.clone().requires_grad_(), baseline.clone(), TARGETS).detach()
    assert relative(tp.deep_lift(wrapped(net), x, TARGETS, baseline=baseline).values, theirs) < 1e-12


@pytest.mark.parametrize("pooling", [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1)])
def test_a_maximum_in_front_of_a_nonlinearity_captum_does_not_complete_and_we_do(pooling: nn.Module) -> None:
    """With windows that overlap it loses contributions besides: its unpooling keeps one window's at each place."""
    net, x, baseline = chain(nn.ReLU, pooling), pictures(2), 0.5 * pictures(2, seed=1)
    net(x)
    truth = change(net, x, baseline)
    theirs = captum.attr.DeepLift(net).attribute(x.clone().requires_grad_(), baseline.clone(), TARGETS).detach().sum((1, 2, 3))
    ours = tp.deep_lift(wrapped(net), x, TARGETS, baseline=baseline).values.sum((1, 2, 3))
    assert (theirs - truth).abs().max() > 1e-3
    assert (ours - truth).abs().max() < 1e-14


def test_functional_relus_captum_does_not_see_and_we_do() -> None:
    net, double = network("functional", torch.float64), pictures(2, side("functional"))
    truth = change(net, double, torch.zeros_like(double))
    theirs = captum.attr.DeepLift(net).attribute(double.clone().requires_grad_(), target=TARGETS).detach().sum((1, 2, 3))
    ours = tp.deep_lift(model("functional", torch.float64), double, TARGETS).values.sum((1, 2, 3))
    assert (theirs - truth).abs().max() > 1e-3
    assert (ours - truth).abs().max() < 1e-14


def test_a_relu_used_twice_captum_refuses_and_we_complete() -> None:
    """torchvision's ResNet uses one ReLU module for every place of a block."""
    net, x = network("resnet18", torch.float64), pictures(2, side("resnet18"))
    with pytest.raises(RuntimeError, match="used more than once"):
        captum.attr.DeepLift(net).attribute(x.clone().requires_grad_(), target=TARGETS)
    ours = tp.deep_lift(model("resnet18", torch.float64), x, TARGETS).values
    assert ((ours.sum((1, 2, 3)) - change(net, x, torch.zeros_like(x))).abs() < 1e-12 * ours.abs().sum((1, 2, 3))).all()
