"""The same numbers as captum 0.9.0, where both define a method the same way."""

from __future__ import annotations

import captum.attr
import numpy as np
import pytest
import torch
from captum.attr._core.gradient_shap import InputBaselineXGradient
from oracle_networks import model, network, relative, side
from torch import Tensor
from zoo import pictures

import tapetum as tp
from tapetum.engines.statistics import Draws

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


N, SIGMA, SEED = 7, 0.2, 5


def our_noise(x: Tensor) -> Tensor:
    """(samples, n, c, h, w): what the docstrings describe, from the draws of the seed."""
    draws = Draws.of(torch.Generator().manual_seed(SEED), N)
    spread = SIGMA * (x.flatten(1).max(1).values - x.flatten(1).min(1).values)
    return torch.stack([spread.view(-1, 1, 1, 1) * draws.normal(k, x[0]) for k in range(N)])


NOISY = {"smooth_grad": "smoothgrad", "smooth_grad_squared": "smoothgrad_sq", "var_grad": "vargrad"}


@pytest.mark.parametrize("method", NOISY)
@pytest.mark.parametrize("name", NETS)
def test_noise_tunnel_over_the_same_noise(name: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """captum's own noise has an absolute sigma and comes from torch's global generator, so ours is put in its place."""
    net, x = network(name, torch.float64), images(name).double()
    noisy = (x + our_noise(x)).transpose(0, 1).flatten(0, 1)  # all copies of the first image, then of the second
    monkeypatch.setattr(captum.attr.NoiseTunnel, "_add_noise_to_input", staticmethod(lambda *_: noisy.clone()))
    tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(net))
    theirs = tunnel.attribute(x, nt_type=NOISY[method], nt_samples=N, target=TARGETS, abs=False)
    if method == "var_grad":
        theirs = theirs * N / (N - 1)  # captum divides by n
    ours = getattr(tp, method)(model(name, torch.float64), x, TARGETS, n_samples=N, sigma=SIGMA, seed=SEED)
    assert relative(ours.values, theirs) < 1e-10  # captum's variance is a difference of sums


def test_the_standard_errors_of_noisy_gradients_are_those_of_numpy_over_a_plain_loop() -> None:
    net, x = network("functional", torch.float64), images("functional").double()
    grads = []
    for noise in our_noise(x):
        leaf = (x + noise).requires_grad_()
        (grad,) = torch.autograd.grad(net(leaf)[range(2), TARGETS].sum(), leaf)
        grads.append(grad.numpy())
    g = np.stack(grads)
    variance, fourth = g.var(0, ddof=1), ((g - g.mean(0)) ** 4).mean(0)
    expected = {
        "smooth_grad": g.std(0, ddof=1) / N**0.5,
        "smooth_grad_squared": (g**2).std(0, ddof=1) / N**0.5,
        "var_grad": np.sqrt((fourth - variance**2 * (N - 3) / (N - 1)) / N),
    }
    for method, stderr in expected.items():
        ours = getattr(tp, method)(model("functional", torch.float64), x, TARGETS, n_samples=N, sigma=SIGMA, seed=SEED)
        assert ours.stderr is not None
        assert relative(ours.stderr, torch.from_numpy(stderr)) < 1e-10, method


@pytest.mark.parametrize("name", NETS)
def test_gradient_shap_over_the_same_draws(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """captum draws places with NumPy's global generator and baselines out of a batch of them: ours are put in their place."""
    net, x = network(name, torch.float64), images(name).double()
    shares = Draws.of(torch.Generator().manual_seed(SEED), N).shares
    theirs = []
    for share, noise in zip(shares, our_noise(x), strict=True):
        monkeypatch.setattr(np.random, "uniform", lambda _low, _high, size, share=share: np.full(size, share))
        one = InputBaselineXGradient(net).attribute(x.clone().requires_grad_(), 0.3 + noise, TARGETS)
        theirs.append(one.detach())
    given = {"n_samples": N, "sigma": SIGMA, "seed": SEED, "baseline": 0.3}
    ours = tp.gradient_shap(model(name, torch.float64), x, TARGETS, **given)
    assert relative(ours.values, torch.stack(theirs).mean(0)) < 1e-10
    assert ours.stderr is not None
    assert relative(ours.stderr, torch.stack(theirs).std(0) / N**0.5) < 1e-10
