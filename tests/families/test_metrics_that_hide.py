"""Metrics that hide sets of places: closed forms on linear networks, plain loops, and every reason for NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from test_metrics import SIDE, given, last_layer, linear
from torch import Tensor, nn
from zoo import pictures, shared, wrapped

import tapetum as tp
from tapetum.families.metrics.effects import random_sets, random_squares
from tapetum.types import Evaluation

CORRELATIONS = ("single_deletion", "faithfulness_correlation", "sensitivity_n")


def measured(metric: str, *about: Any, **keywords: Any) -> Evaluation:
    found = tp.lookup(metric).function(*about, **keywords)
    assert isinstance(found, Evaluation)
    return found


def rank_correlation(a: list[float], b: list[float]) -> float:
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


@pytest.mark.parametrize("metric", CORRELATIONS)
def test_input_times_gradient_is_exact_for_a_linear_network_and_its_negative_exactly_wrong(metric: str) -> None:
    model, images = linear(), pictures(2)
    exact = tp.input_x_gradient(model, images, [1, 3])
    torch.testing.assert_close(measured(metric, model, images, exact).value, torch.ones(2, dtype=torch.float64))
    wrong = given(-exact.values, exact.explains)
    torch.testing.assert_close(measured(metric, model, images, wrong).value, -torch.ones(2, dtype=torch.float64))


def weights(model: Any, target: int) -> np.ndarray:
    return last_layer(model).weight.detach().numpy()[target].reshape(3, SIDE, SIDE)


def fall(model: Any, image: Tensor, target: int, hidden: np.ndarray) -> float:
    """By hand, for a linear network and black squares: what the hidden pixels gave to the logit."""
    return float((weights(model, target) * image.numpy() * hidden).sum())


def test_single_deletion_is_the_rank_correlation_of_a_plain_loop() -> None:
    model, images = linear(), pictures(2)
    maps = pictures(2, seed=5)[:, :1]
    expected = []
    for row, target in enumerate((2, 4)):
        cells = [np.zeros((SIDE, SIDE)) for _ in range(16)]
        for i, cell in enumerate(cells):
            top, left = SIDE // 4 * (i // 4), SIDE // 4 * (i % 4)
            cell[top : top + SIDE // 4, left : left + SIDE // 4] = 1
        drops = [fall(model, images[row], target, cell) for cell in cells]
        sums = [float((maps[row, 0].numpy() * cell).sum()) for cell in cells]
        expected.append(rank_correlation(sums, drops))
    found = measured("single_deletion", model, images, given(maps, (2, 4)))
    np.testing.assert_allclose(found.value, expected, rtol=1e-12)
    assert found.parts["drop"].shape == (2, 16)


def test_single_deletion_takes_seventeen_passes_of_an_image() -> None:
    model, images = linear(), pictures(2)
    seen: list[int] = []
    with model.module.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0]))):
        tp.single_deletion(model, images, given(pictures(2, seed=5)[:, :1], (2, 4)))
    assert sum(seen) <= 2 * 17 + 1  # and a first pass that says what the output is


def test_equal_sums_share_their_mean_rank() -> None:
    """Two values in 16 cells: scipy's ranks with ties."""
    model, images = linear(), pictures(1)
    steps = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    steps[0, 0, 1:3, 2] = 1
    large = steps.repeat_interleave(4, 2).repeat_interleave(4, 3)
    found = measured("single_deletion", model, images, given(large, (2,)))
    expected = rank_correlation(found.parts["attributed"][0].tolist(), found.parts["drop"][0].tolist())
    np.testing.assert_allclose(found.value, [expected], rtol=1e-12)


def test_faithfulness_correlation_is_that_of_a_plain_loop() -> None:
    model, images, maps = linear(), pictures(1), pictures(1, seed=5)[:, :1]
    sets = random_sets(SIDE * SIDE, [26] * 30, seed=3).numpy().reshape(30, SIDE, SIDE)
    drops = [fall(model, images[0], 2, one) for one in sets]
    sums = [float((maps[0, 0].numpy() * one).sum()) for one in sets]
    found = measured("faithfulness_correlation", model, images, given(maps, (2,)), n_samples=30, share=0.1, cells=None, seed=3)
    np.testing.assert_allclose(found.value, [np.corrcoef(sums, drops)[0, 1]], rtol=1e-10)
    assert all(one.sum() == 26 for one in sets)


def test_sensitivity_n_is_the_mean_of_the_correlations_of_its_sizes() -> None:
    model, images, maps = linear(), pictures(1), given(pictures(1, seed=5)[:, :1], (2,))
    found = measured("sensitivity_n", model, images, maps, n_sizes=4, cells=None)
    share, correlation = found.parts["share"][0], found.parts["correlation"][0]
    np.testing.assert_allclose(share * SIDE * SIDE, [1, 6, 35, 204])  # 204 = 80 % of 256, in equal factors
    np.testing.assert_allclose(found.value, [correlation.mean()])
    assert bool((correlation.abs() < 1).all())


@pytest.mark.parametrize("scaled", [False, True])
def test_infidelity_of_the_exact_map_is_zero_and_of_zeros_the_mean_squared_fall(scaled: bool) -> None:
    model, images = linear(), pictures(2)
    exact = tp.input_x_gradient(model, images, [1, 3])
    about = {"scaled": scaled, "n_samples": 20, "seed": 1}
    torch.testing.assert_close(measured("infidelity", model, images, exact, **about).value, torch.zeros(2).double())
    slopes = given(tp.saliency(model, images, [1, 3]).values * 0 + torch.from_numpy(weights(model, 1)), (1, 1))
    found = measured("infidelity", model, images, slopes, values="slopes", **about).value
    torch.testing.assert_close(found, torch.zeros(2).double())
    squares = random_squares((SIDE, SIDE), SIDE // 4, 20, 1).numpy().reshape(20, SIDE, SIDE)
    drops = [fall(model, images[0], 2, one) for one in squares]
    nothing = given(torch.zeros(1, 1, SIDE, SIDE), (2,))
    found = measured("infidelity", model, images[:1], nothing, **about).value
    np.testing.assert_allclose(found, [np.square(drops).mean()], rtol=1e-10)


def test_scaled_infidelity_does_not_see_the_scale_of_a_map() -> None:
    model, images, maps = shared("residual"), pictures(2), pictures(2, seed=5)[:, :1]
    exact = tp.input_x_gradient(model, images, [1, 3]).values.sum(1, keepdim=True)
    maps = exact + exact.std() * maps
    one, other, opposite = (measured("infidelity", model, images, given(b * maps, (1, 3))) for b in (1, 30, -1))
    torch.testing.assert_close(one.value, other.value)
    plain = measured("infidelity", model, images, given(maps, (1, 3)), scaled=False)
    assert bool((plain.value > one.value).all())
    torch.testing.assert_close(opposite.value, one.parts["drop"].square().mean(1))  # no better than forecasting no change
    assert bool((opposite.value > one.value).all())


class Deaf(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return 0 * images.mean((1, 2, 3))[:, None] + torch.arange(5.0, dtype=images.dtype)


@pytest.mark.parametrize("metric", CORRELATIONS)
def test_where_there_is_no_correlation_the_result_says_why(metric: str) -> None:
    values = pictures(4, seed=4)[:, :1].clone()
    values[0], values[1], values[2, 0, 3, 3] = 0.5, 0, torch.nan
    found = measured(metric, linear(), pictures(4), given(values, (1, 1, 1, 1)))
    assert found.status == ("constant", "constant", "non_finite", "ok")
    assert found.value.isnan().tolist() == [True, True, True, False]
    assert "without a number: 2 constant map, 1 NaN in the map" in str(found)
    deaf = measured(metric, wrapped(Deaf()), pictures(1), given(values[3:], (1,)))
    assert (deaf.status, str(deaf).partition(": ")[2]) == (
        ("no_change",),
        "undefined; without a number: 1 an output that does not change",
    )


def test_infidelity_is_defined_for_a_constant_map_and_not_for_one_with_nan() -> None:
    values = pictures(3, seed=4)[:, :1].clone()
    values[0], values[1, 0, 3, 3] = 0.5, torch.nan
    found = measured("infidelity", linear(), pictures(3), given(values, (1, 1, 1)))
    assert found.status == ("ok", "non_finite", "ok")
    assert found.value.isnan().tolist() == [False, True, False]
