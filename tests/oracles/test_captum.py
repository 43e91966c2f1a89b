"""The same numbers as captum 0.9.0, where both define a method the same way."""

from __future__ import annotations

import captum.attr
import pytest
import torch
from oracle_networks import model, network, relative, side
from torch import Tensor
from zoo import pictures

import tapetum as tp

pytestmark = pytest.mark.oracle

TARGETS = [3, 1]
NETS = ["resnet18", "functional"]
CLOSE = 1e-5
"""Relative to the largest value: single precision, with sums over 50 points or 40 windows in another order."""


def images(name: str, n: int = 2) -> Tensor:
    return pictures(n, side(name), dtype=torch.float32)


@pytest.mark.parametrize("name", NETS)
def test_saliency(name: str) -> None:
    theirs = captum.attr.Saliency(network(name)).attribute(images(name).requires_grad_(), TARGETS)
    assert relative(tp.saliency(model(name), images(name), TARGETS).values, theirs) < CLOSE


@pytest.mark.parametrize("name", NETS)
def test_input_x_gradient(name: str) -> None:
    theirs = captum.attr.InputXGradient(network(name)).attribute(images(name).requires_grad_(), TARGETS)
    assert relative(tp.input_x_gradient(model(name), images(name), TARGETS).values, theirs.detach()) < CLOSE


QUADRATURES = {
    "gauss_legendre": "gausslegendre",
    "middle": "riemann_middle",
    "left": "riemann_left",
    "right": "riemann_right",
}


@pytest.mark.parametrize("quadrature", QUADRATURES)
@pytest.mark.parametrize("name", NETS)
def test_integrated_gradients(name: str, quadrature: str) -> None:
    double = torch.float64  # in single precision a path that passes a ReLU's kink may fall on either side of it
    x, baseline, steps = pictures(2, 32), 0.5 * pictures(2, 32, seed=1), 6
    theirs = captum.attr.IntegratedGradients(network(name, double)).attribute(
        x.clone().requires_grad_(), baseline, TARGETS, n_steps=steps, method=QUADRATURES[quadrature]
    )
    ours = tp.integrated_gradients(model(name, double), x, TARGETS, n_steps=steps, baseline=baseline, quadrature=quadrature)
    assert relative(ours.values, theirs.detach()) < CLOSE


def test_the_trapezoid_of_captum_falls_short_of_completeness_and_ours_does_not() -> None:
    """The written reason for not agreeing on the fifth quadrature: captum's weights sum to 1 - 1/n."""
    x, n = images("functional", 1), 20
    net = network("functional")
    theirs = captum.attr.IntegratedGradients(net).attribute(x, target=3, n_steps=n, method="riemann_trapezoid")
    ours = tp.integrated_gradients(model("functional"), x, 3, n_steps=n, quadrature="trapezoid").values
    difference = float((net(x) - net(torch.zeros_like(x)))[0, 3])
    assert abs(float(ours.sum()) / difference - 1) < 0.02
    assert float(theirs.sum()) / difference < 0.97


@pytest.mark.parametrize(("window", "stride"), [(32, 16), (30, 13)])
def test_occlusion_also_with_windows_that_are_cut_at_the_border(window: int, stride: int) -> None:
    x = images("resnet18")
    theirs = captum.attr.Occlusion(network("resnet18")).attribute(
        x, (3, window, window), (3, stride, stride), baselines=0.3, target=TARGETS
    )
    ours = tp.occlusion(model("resnet18"), x, TARGETS, window=window, stride=stride, fill=0.3)
    assert relative(ours.values.expand_as(theirs), theirs) < 2 * CLOSE  # differences of scores: their rounding is larger


@pytest.mark.parametrize(("window", "stride"), [(8, 4), (9, 5), (5, 5)])
def test_occlusion_on_functional_relus(window: int, stride: int) -> None:
    x = images("functional").double()
    theirs = captum.attr.Occlusion(network("functional", torch.float64)).attribute(
        x, (3, window, window), (3, stride, stride), baselines=0, target=TARGETS
    )
    ours = tp.occlusion(model("functional", torch.float64), x, TARGETS, window=window, stride=stride)
    assert relative(ours.values.expand_as(theirs), theirs) < 1e-7  # captum keeps its windows in single precision


def test_captums_layer_grad_cam_is_our_signed_values() -> None:
    net, x = network("resnet18"), images("resnet18")
    theirs = captum.attr.LayerGradCam(net, net.layer4).attribute(x, TARGETS)
    assert relative(tp.grad_cam(model("resnet18"), x, TARGETS, layer="layer4").values, theirs.detach()) < CLOSE


def test_smooth_grad_is_the_mean_over_the_noise_that_its_docstring_describes() -> None:
    """captum's NoiseTunnel draws its own noise with an absolute sigma, so this is a plain loop over the same noise."""
    net, x, n, sigma = network("functional", torch.float64), images("functional").double(), 7, 0.2
    noise = torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(5)).double()
    spread = sigma * (x.flatten(1).max(1).values - x.flatten(1).min(1).values)
    grads = []
    for one in noise:
        leaf = (x + spread.view(2, 1, 1, 1) * one).requires_grad_()
        (grad,) = torch.autograd.grad(net(leaf)[range(2), TARGETS].sum(), leaf)
        grads.append(grad)
    stacked = torch.stack(grads)
    ours = tp.smooth_grad(model("functional", torch.float64), x, TARGETS, n_samples=n, sigma=sigma, seed=5)
    assert relative(ours.values, stacked.mean(0)) < 1e-12
    assert ours.stderr is not None
    assert relative(ours.stderr, stacked.std(0) / n**0.5) < 1e-12
