"""Max- and average-sensitivity: closed forms, captum's numbers in test_quantus, and maps that cannot be made again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from test_metrics import SIDE, linear
from test_metrics_that_hide import measured, weights
from torch import Tensor, nn
from zoo import pictures, shared

import tapetum as tp
from tapetum.types import Attribution, MethodError

BOTH = ("max_sensitivity", "average_sensitivity")


@pytest.mark.parametrize("metric", BOTH)
def test_the_gradient_of_a_linear_network_does_not_move(metric: str) -> None:
    model, images = linear(), pictures(2)
    assert measured(metric, model, images, tp.saliency(model, images, [1, 3])).value.tolist() == [0, 0]


def test_input_times_gradient_of_a_linear_network_moves_by_the_noise_times_the_weights() -> None:
    """By hand: R(x + e) - R(x) = w e."""
    model, images, radius = linear(), pictures(1), 0.05
    maps = tp.input_x_gradient(model, images, 2)
    unit = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    moved = weights(model, 2) * (radius * (2 * unit - 1)).numpy()
    changes = np.sqrt((moved**2).sum((1, 2, 3))) / np.linalg.norm(maps.values)
    about: dict[str, Any] = {"radius": radius, "n_samples": 4, "seed": 7}
    found = measured("max_sensitivity", model, images, maps, **about)
    np.testing.assert_allclose(found.value, [changes.max()], rtol=1e-9)
    np.testing.assert_allclose(found.parts["change"], [changes], rtol=1e-9)
    mean = measured("average_sensitivity", model, images, maps, **about)
    np.testing.assert_allclose(mean.value, [changes.mean()], rtol=1e-9)


def test_the_map_is_made_again_at_its_layer_and_with_its_parameters() -> None:
    model, images = shared("residual"), pictures(2)
    for maps in (
        tp.grad_cam(model, images, [1, 3], layer="first"),
        tp.integrated_gradients(model, images, [1, 3], n_steps=3, baseline="white"),
        tp.smooth_grad(model, images, [1, 3], n_samples=2, sigma=0.3, seed=5),
        tp.rise(model, images, [1, 3], n_masks=20, cells=3, seed=2),
    ):
        found = measured("max_sensitivity", model, images, maps, n_samples=2)
        assert found.status == ("ok", "ok"), maps.method
        assert bool((found.value > 0).all())
    assert tp.smooth_grad(model, images, 1, n_samples=2, seed=5).parameters == {"n_samples": 2, "seed": 5}


def test_a_map_that_its_method_does_not_give_again_has_no_number_until_the_method_is_given() -> None:
    model, images = shared("residual"), pictures(2)
    baseline = pictures(1, seed=8)[0]
    maps = tp.integrated_gradients(model, images, [1, 3], n_steps=3, baseline=baseline)
    found = measured("max_sensitivity", model, images, maps, n_samples=2)
    assert found.status == ("not_repeated", "not_repeated")
    assert "without a number: 2 a map that its method does not give again" in str(found)

    def same(model: tp.VisionModel, images: Tensor, target: Any) -> Attribution:
        return tp.integrated_gradients(model, images, target, n_steps=3, baseline=baseline)

    assert measured("max_sensitivity", model, images, maps, n_samples=2, method=same).status == ("ok", "ok")
    changed = replace(maps, values=-maps.values)
    assert set(measured("max_sensitivity", model, images, changed, n_samples=2, method=same).status) == {"not_repeated"}


@pytest.mark.parametrize("metric", BOTH)
def test_a_map_of_nobody_is_refused_and_one_of_zeros_has_no_relative_change(metric: str) -> None:
    model, images = shared("residual"), pictures(1)
    maps = tp.saliency(model, images, 1)
    with pytest.raises(MethodError, match=rf"^{metric} makes the map again, but no method is called 'mine': give method="):
        measured(metric, model, images, replace(maps, method="mine"))
    assert measured(metric, model, images, replace(maps, values=0 * maps.values)).status == ("zero",)


def test_a_callable_target_is_kept() -> None:
    model, images = shared("residual"), pictures(2)
    maps = tp.saliency(model, images, lambda output: output[:, 1] * 2)
    assert measured("average_sensitivity", model, images, maps, n_samples=2).status == ("ok", "ok")


class WithAge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.last = nn.Conv2d(3, 4, 3), nn.Linear(5, 3)

    def forward(self, images: Tensor, age: Tensor) -> Tensor:
        return self.last(torch.cat([self.convolution(images).relu().mean((2, 3)), age], 1))


def test_a_further_input_of_one_row_goes_with_every_copy_and_several_are_refused() -> None:
    ages = torch.tensor([[0.3], [0.9]], dtype=torch.float64)
    torch.manual_seed(0)
    net = WithAge().double()
    for n in (1, 2):
        model = tp.wrap(net, size=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, extra={"age": ages[:n]})
        maps = tp.input_x_gradient(model, pictures(n), 1)
        if n == 1:
            assert measured("max_sensitivity", model, pictures(1), maps, n_samples=2).status == ("ok",)
        else:
            with pytest.raises(MethodError, match=r"^max_sensitivity explains copies of an image, so the further input 'age'"):
                measured("max_sensitivity", model, pictures(2), maps, n_samples=2)
