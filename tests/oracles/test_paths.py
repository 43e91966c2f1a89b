"""Integrals along blurred and guided paths, derived a second time: no peer of them is installed (PAIR's saliency)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import torch
from numpy.typing import NDArray
from oracle_networks import model, relative
from torch import Tensor, nn
from zoo import SIDE, pictures, shared, wrapped

import tapetum as tp
from tapetum.families.gradients.paths import _Blur, guided_step
from tapetum.models.vision_model import VisionModel

pytestmark = pytest.mark.oracle

Picture = NDArray[np.float64]


def score_gradient(model: VisionModel, x: Picture, target: int) -> Picture:
    """Of one image (c, h, w), by autograd on the user's own module."""
    leaf = torch.from_numpy(x)[None].requires_grad_()
    (grad,) = torch.autograd.grad(model.module(leaf)[0, target], leaf)
    return grad[0].numpy()


# --- blur


@pytest.mark.parametrize(("sigma", "truncation"), [(1.5, 1e-4), (2.5, 1e-6), (6.0, 1e-6)])
def test_the_blur_is_scipys_gaussian_with_mirrored_borders(sigma: float, truncation: float) -> None:
    x = pictures(1, 40)[..., :33]  # and the sides differ
    theirs = scipy.ndimage.gaussian_filter(x[0].numpy(), (0, sigma, sigma), mode="reflect", truncate=8)
    ours = _Blur(x)(0, sigma).numpy()
    # scipy samples the Gaussian at whole pixels; what that misses of the band falls off with exp(-(pi sigma)^2 / 2)
    assert np.abs(ours - theirs).max() < truncation


def test_the_speed_of_the_blur_is_its_derivative() -> None:
    blur, step = _Blur(pictures(1)), 1e-5
    difference = (blur(0, 1.3 + step) - blur(0, 1.3 - step)) / (2 * step)
    assert relative(blur.speed(0, 1.3), difference) < 1e-8  # step^2 of a central difference, and its rounding


def test_no_blur_is_the_image_and_much_of_it_the_mean_colour() -> None:
    x = pictures(1)
    assert relative(_Blur(x)(0, 0.0), x[0]) < 1e-13
    assert relative(_Blur(x)(0, 1e4), x[0].mean((1, 2), keepdim=True).expand_as(x[0])) < 1e-13


def test_blur_integrated_gradients_on_a_linear_model_are_the_weights_times_what_the_blur_took_away() -> None:
    linear, x = shared("linear"), pictures(2)
    weights = linear.module[1].weight.detach()[2].view(3, SIDE, SIDE)
    blurred = scipy.ndimage.gaussian_filter(x.numpy(), (0, 0, 5, 5), mode="reflect", truncate=12)
    ours = tp.blur_integrated_gradients(linear, x, 2, n_steps=40, max_sigma_px=5).values
    assert relative(ours, weights * (x - torch.from_numpy(blurred))) < 1e-8


def test_blur_integrated_gradients_are_the_sum_over_small_steps_of_the_blur() -> None:
    """The paper's definition by brute force: 2000 small steps, gradient in the middle times the change of the image."""
    net, x, steps = shared("channels_last"), pictures(1), 2000
    rows, columns = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
    waves = (np.pi / SIDE) ** 2 * (rows**2 + columns**2)

    def blurred(sigma: float) -> Picture:
        spectrum = scipy.fft.dctn(x[0].numpy(), axes=(1, 2), norm="ortho")
        return scipy.fft.idctn(spectrum * np.exp(-(sigma**2) * waves / 2), axes=(1, 2), norm="ortho")

    sigmas, total = 6 * np.linspace(1, 0, steps + 1) ** 2, np.zeros((3, SIDE, SIDE))
    for before, after in itertools.pairwise(sigmas):
        total += score_gradient(net, blurred((before + after) / 2), 1) * (blurred(after) - blurred(before))
    ours = tp.blur_integrated_gradients(net, x, 1, n_steps=64, max_sigma_px=6).values[0]
    assert relative(ours, torch.from_numpy(total)) < 1e-5  # (1 / 2000)^2 of the brute force's own error, times the bend


# --- guided


def guided_by_hand(
    net: VisionModel, start: Picture, end: Picture, target: int, steps: int, fraction: float, reach: float
) -> tuple[Picture, list[Picture]]:
    """One value at a time, as the paper tells it: shares of the way, sorted by steepness, moved until the step is paid."""
    way = np.abs(end - start).ravel()
    share = np.zeros(way.size)
    values, path = np.zeros(way.size), [start]
    grad = score_gradient(net, start, target).ravel()
    for step in range(1, steps + 1):
        low, high = max(step / steps - reach, 0), min(step / steps + reach, 1)
        moved = np.maximum(share, low)
        owed = step / steps * way.sum() - (moved * way).sum()
        order = sorted((i for i in range(way.size) if moved[i] < high), key=lambda i: abs(grad[i]))
        group = int(np.floor(fraction * (way.size - 1))) + 1
        while owed > 0 and order:
            now, order = order[:group], order[group:]
            room = sum((high - moved[i]) * way[i] for i in now)
            part = min(1, owed / room) if room > 0 else 1
            for i in now:
                moved[i] += part * (high - moved[i])
            owed -= room
        there = start + moved.reshape(start.shape) * (end - start)
        ahead = score_gradient(net, there, target).ravel()
        values += (there - path[-1]).ravel() * (grad + ahead) / 2
        share, grad = moved, ahead
        path.append(there)
    return values.reshape(start.shape), path


@pytest.mark.parametrize(("fraction", "reach"), [(0.25, 0.02), (0.1, 0.3), (0.6, 1.0)])
@pytest.mark.parametrize("name", ["functional", "channels_last"])
def test_guided_integrated_gradients_are_those_of_a_loop_over_single_values(name: str, fraction: float, reach: float) -> None:
    net, x, baseline = shared(name), pictures(2), 0.5 * pictures(2, seed=3)
    ours = tp.guided_integrated_gradients(
        net, x, [1, 3], n_steps=12, baseline=baseline, fraction=fraction, max_distance=reach
    ).values
    for row, target in enumerate((1, 3)):
        theirs, path = guided_by_hand(net, baseline[row].numpy(), x[row].numpy(), target, 12, fraction, reach)
        np.testing.assert_allclose(path[-1], x[row].numpy(), atol=1e-12)
        assert relative(ours[row], torch.from_numpy(theirs)) < 1e-8


@pytest.mark.parametrize("given", [{"max_distance": 0}, {"fraction": 1}])
def test_a_guided_path_without_freedom_is_the_straight_one(given: dict[str, float]) -> None:
    x, net = pictures(2, 32), model("functional", torch.float64)
    guided = tp.guided_integrated_gradients(net, x, [3, 1], n_steps=9, baseline=0.2, **given).values
    straight = tp.integrated_gradients(net, x, [3, 1], n_steps=10, baseline=0.2, quadrature="trapezoid").values
    assert relative(guided, straight) < 1e-10


def test_a_guided_step_is_long_enough_and_keeps_to_its_corridor() -> None:
    start, end = pictures(1, seed=1)[0], pictures(1, seed=2)[0]
    end[:, :4] = start[:, :4]  # values that do not change have no share of the way
    here, generator = start, torch.Generator().manual_seed(0)
    for k in range(1, 11):
        grad = torch.randn(start.shape, generator=generator, dtype=torch.float64)
        there = guided_step(here, grad, start, end, k / 10, 0.25, 0.15)
        gone = (there - start).abs()
        assert float(gone.sum() / (end - start).abs().sum()) == pytest.approx(k / 10, abs=1e-12)
        share = (gone / (end - start).abs())[:, 4:]
        assert share.min() >= k / 10 - 0.15 - 1e-12
        assert share.max() <= min(1, k / 10 + 0.15) + 1e-12
        assert (gone >= (here - start).abs() - 1e-12).all()  # never back
        here = there
    assert torch.allclose(here, end, atol=1e-12)


class Corner(nn.Module):
    """score = first value times second: the order in which they move decides who gets the credit."""

    def forward(self, images: Tensor) -> Tensor:
        product = images[:, 0, 0, 0] * images[:, 0, 0, 1]
        return torch.stack([product, 3 * images[:, 0, 0, 0]], 1)


def test_a_guided_path_moves_first_what_the_score_does_not_feel() -> None:
    """By hand: on the way from (1, 0) to (3, 2) the steepness is (second, first) = (0, 1) at the start: the first moves first.

    Free to go alone (max_distance 1) it gets nothing, since the second is 0 meanwhile, and the second gets 3 * 2.
    """
    start, end = torch.zeros(2, 1, 3, 1, 2, dtype=torch.float64).unbind()
    start[0, 0, 0, 0], end[0, 0, 0, 0], end[0, 0, 0, 1] = 1, 3, 2
    given = {"n_steps": 40, "baseline": start, "fraction": 0.1, "max_distance": 1}
    values = tp.guided_integrated_gradients(wrapped(Corner()), end, 0, **given).values
    np.testing.assert_allclose(values[0, 0].flatten(), [0, 6], atol=1e-5)  # a model without weights works in single precision
    assert (values[0, 1:] == 0).all()
