"""LRP and excitation backprop: zennit's composites, layer for layer, where ReLUs, sums and pools are modules.

Both work in float64 with the same stabilizer of 1e-6; sums in another order differ by about 1e-15 a layer, which the rules
amplify where a denominator nearly cancels.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import zennit.composites as zc
from oracle_networks import BUILD, network, relative
from torch import Tensor, nn
from zennit.attribution import Gradient
from zennit.layer import Sum
from zennit.torchvision import ResNetCanonizer, VGGCanonizer
from zoo import pictures

import tapetum as tp
from tapetum.engines.backward.composites import CompositeName

pytestmark = pytest.mark.oracle

LOW, HIGH = -2.0, 2.5


class Plain(nn.Sequential):
    """VGG-like, with batch-norm, max and average pooling, two linear layers."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.AvgPool2d(2),
            nn.Conv2d(12, 12, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
            nn.Linear(48, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 20),
        )  # fmt: skip


def plain() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Plain().double().train()
        for _ in range(4):
            net(pictures(8, 32))
    return net.eval().requires_grad_(False)


def nets(name: str) -> tuple[nn.Module, Any, int]:
    """The network, zennit's canonizer for it, the side of its images.

    zennit merges batch-norms and leaves identities behind that still divide by sqrt(1 + eps): with the usual 1e-5 its own
    scores move by 5e-6 a layer (and its maps of resnet18 by up to 3 %), so eps is put into the variance here.
    """
    net, canonizer, side = plain(), VGGCanonizer(), 32
    if name == "resnet18":
        net, canonizer, side = copy.deepcopy(network("resnet18", torch.float64)), ResNetCanonizer(), BUILD["resnet18"][1]
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_var += part.eps
            part.eps = 0.0
    return net, canonizer, side


PAIRS: dict[CompositeName, Any] = {
    "epsilon_plus": zc.EpsilonPlus,
    "epsilon_plus_flat": zc.EpsilonPlusFlat,
    "epsilon_alpha2_beta1": zc.EpsilonAlpha2Beta1,
    "epsilon_alpha2_beta1_flat": zc.EpsilonAlpha2Beta1Flat,
    "epsilon_gamma_box": zc.EpsilonGammaBox,
}


def theirs(net: nn.Module, composite: Any, x: Tensor, targets: list[int], seed: Any = None) -> Tensor:
    """Relevance that starts with the target's logit (or `seed`); in chunks of one, since zennit's box is of one image."""

    def start(output: Tensor) -> Tensor:
        rows = torch.arange(len(output))
        chosen = torch.zeros_like(output)
        chosen[rows, targets] = output[rows, targets].detach() if seed is None else seed
        return chosen

    with Gradient(net, composite, attr_output=start) as attributor:
        return attributor(x)[1].detach()


@pytest.mark.parametrize("name", ["plain", "resnet18"])
@pytest.mark.parametrize("composite", PAIRS)
def test_composites_are_zennits(name: str, composite: CompositeName) -> None:
    net, canonizer, side = nets(name)
    x = pictures(2, side)
    # pixels 0 and 1 are LOW and HIGH as the network sees them
    std = 1 / (HIGH - LOW)
    model = tp.wrap(net, size=side, mean=(-LOW * std,) * 3, std=(std,) * 3)
    bounds = {"low": torch.tensor(LOW), "high": torch.tensor(HIGH)} if composite == "epsilon_gamma_box" else {}
    expected = theirs(net, PAIRS[composite](canonizers=[canonizer], **bounds), x, [3, 1])
    ours = tp.lrp(model, x, [3, 1], composite=composite).values
    assert relative(ours, expected) < 1e-8


@pytest.mark.parametrize("name", ["plain", "resnet18"])
def test_excitation_backprop_is_zennits(name: str) -> None:
    net, canonizer, side = nets(name)
    x = pictures(2, side)
    composite = zc.ExcitationBackprop(zero_params="bias", canonizers=[canonizer])  # the paper has no biases
    expected = theirs(net, composite, x, [3, 1], seed=1.0)
    ours = tp.excitation_backprop(tp.wrap(net, size=side, mean=(0.0,) * 3, std=(1.0,) * 3), x, [3, 1]).values
    assert relative(ours, expected) < 1e-8


def test_zennit_leaves_functional_sums_and_relus_to_the_gradient() -> None:
    """The reason for rules that follow operations: the same network, its ReLUs and sums as functions, has the same map here."""
    net = network("functional", torch.float64)
    x = pictures(2, 32)
    model = tp.wrap(net, size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    ours = tp.lrp(model, x, [3, 1], composite="epsilon_plus").values

    class Modules(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three, self.linear = net.one, net.two, net.three, net.linear
            self.relu, self.sum, self.pool, self.mean = nn.ReLU(), Sum(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)

        def forward(self, images: Tensor) -> Tensor:
            x = self.relu(self.one(images))
            x = self.pool(self.relu(self.sum(torch.stack([self.two(x), x], -1))))
            return self.linear(self.mean(self.relu(self.three(x))).flatten(1))

    assert relative(ours, theirs(Modules(), zc.EpsilonPlus(), x, [3, 1])) < 1e-8
    assert relative(theirs(net, zc.EpsilonPlus(), x, [3, 1]), ours) > 0.1
