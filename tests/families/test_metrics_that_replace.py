"""Pixel flipping, ROAD, average drop, increase and gain, completeness: closed forms, and every edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_metrics import SIDE, given, linear, probability
from test_metrics_that_hide import Deaf, measured, weights
from zoo import pictures, shared, wrapped

import tapetum as tp
from tapetum.types import MethodError, Unit

MASKED = ("average_drop", "average_increase", "average_gain")


def test_pixel_flipping_is_the_mean_fall_of_the_curve_of_deletion() -> None:
    model, images, maps = linear(strength=3), pictures(2), given(pictures(2, seed=5)[:, :1], (1, 3))
    flipped = measured("pixel_flipping", model, images, maps, n_steps=8, fill="zero")
    curve = tp.deletion(model, images, maps, n_steps=8).curve
    assert torch.equal(flipped.curve, curve)
    np.testing.assert_allclose(flipped.value, curve[:, 0] - curve[:, 1:].mean(1), rtol=1e-12)


def test_road_turns_its_sign_with_the_map_and_ranks_the_exact_one_first() -> None:
    model, images = linear(strength=3), pictures(1)
    of = weights(model, 2) - np.mean([weights(model, k) for k in range(5)], 0)
    exact = torch.from_numpy(of)[None] * images
    for seed in (0, 1):
        best = measured("road", model, images, given(exact, (2,)), seed=seed)
        worst = measured("road", model, images, given(-exact, (2,)), seed=seed)
        torch.testing.assert_close(best.value, -worst.value)
        assert float(best.value) > 0.1 > abs(float(measured("road", model, images, given(images[:, :1] * 0 + 1, (2,))).value))


def test_road_of_a_share_is_the_probability_of_the_imputed_picture() -> None:
    """One pixel is removed: the weighted mean of its eight neighbours, by hand."""
    model, images, place = linear(strength=3), pictures(1), (5, 7)
    maps = torch.zeros(1, 1, SIDE, SIDE)
    maps[0, 0, place[0], place[1]] = 1
    found = measured("road", model, images, given(maps, (2,)), shares=(1 / SIDE**2,), noise=0.0)
    image = images[0].numpy().copy()
    kernel = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12
    image[:, 5, 7] = (image[:, 4:7, 6:9] * kernel).sum((1, 2))
    np.testing.assert_allclose(found.parts["highest_first"], [[probability(model, image, 2)]], rtol=1e-10)


@pytest.mark.parametrize("shares", [(), (0.0,), (1.0,), (0.5, -0.1)])
def test_shares_outside_the_picture_are_refused(shares: Any) -> None:
    with pytest.raises(MethodError, match=r"^road: shares are numbers above 0 and below 1"):
        tp.road(linear(), pictures(1), given(pictures(1)[:, :1], (2,)), shares=shares)


# --- what is highlighted


def test_drop_increase_and_gain_are_those_of_the_masked_picture() -> None:
    model, images, maps = linear(strength=3), pictures(4), pictures(4, seed=5)[:, :1]
    found = {name: measured(name, model, images, given(maps, (0, 1, 2, 3))) for name in MASKED}
    for row in range(4):
        mask = maps[row].clamp(min=0) / maps[row].max()
        p, q = (probability(model, one.numpy(), row) for one in (images[row], images[row] * mask))
        np.testing.assert_allclose(found["average_drop"].value[row], max(0, p - q) / p, rtol=1e-10, atol=1e-15)
        assert float(found["average_increase"].value[row]) == (q > p)
        np.testing.assert_allclose(found["average_gain"].value[row], max(0, q - p) / (1 - p), rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(found["average_drop"].parts["shown"][row, 0], mask.mean(), rtol=1e-10)


def test_a_constant_map_shows_everything_and_one_without_positive_values_nothing() -> None:
    model, images = linear(strength=3), pictures(2)
    values = torch.tensor([0.5, -0.5], dtype=torch.float64)[:, None, None, None].expand(2, 1, SIDE, SIDE)
    maps = given(values, (1, 1))
    blank = probability(model, np.zeros((3, SIDE, SIDE)), 1)
    whole = probability(model, images[1].numpy(), 1)
    drop = measured("average_drop", model, images, maps)
    assert drop.parts["shown"].flatten().tolist() == [1, 0]
    np.testing.assert_allclose(drop.value, [0, max(0, whole - blank) / whole], atol=1e-12)
    assert measured("average_gain", model, images[:1], maps[0]).value.tolist() == [0]
    assert measured("average_increase", model, images[:1], maps[0]).value.tolist() == [0]


def test_a_probability_of_exactly_zero_or_one_has_no_drop_or_no_gain_and_the_result_says_so() -> None:
    model, images = linear(classes=1, strength=1e5), pictures(8)
    values = pictures(8, seed=5)[:, :1].clone()
    maps = given(values, (0,) * 8)
    drop, increase, gain = (measured(name, model, images, maps) for name in MASKED)
    p = drop.parts["whole"].flatten()
    assert {0.0, 1.0} <= set(p.tolist())
    assert [one == "impossible" for one in drop.status] == (p == 0).tolist()
    assert [one == "certain" for one in gain.status] == (p == 1).tolist()
    assert set(increase.status) == {"ok"}
    assert increase.value[p == 1].sum() == 0
    assert "probability 0 from the start" in str(drop)
    assert "probability 1 from the start" in str(gain)


@pytest.mark.parametrize("metric", MASKED)
def test_a_target_without_a_probability_is_refused_in_a_line(metric: str) -> None:
    model, images = shared("reused"), pictures(1)
    with pytest.raises(MethodError, match=f"^{metric} compares probabilities, and the target of this map has none"):
        measured(metric, model, images, tp.saliency(model, images, Unit("three", 2, (1, 3))))


# --- completeness


def test_shares_that_add_up_are_complete_and_twice_of_them_are_wrong_by_all_of_it() -> None:
    model, images = shared("residual"), pictures(2)
    exact = tp.integrated_gradients(linear(), images, [1, 3], n_steps=2)
    assert float(measured("completeness", linear(), images, exact).value.max()) < 1e-9
    twice = given(2 * exact.values, exact.explains)
    np.testing.assert_allclose(measured("completeness", linear(), images, twice).value, [1, 1])
    zero = given(0 * exact.values, exact.explains)
    np.testing.assert_allclose(measured("completeness", model, images, zero).value, [1, 1])


def test_completeness_is_of_the_score_that_the_method_explains() -> None:
    """RISE explains the probability."""
    model, images = linear(strength=3), pictures(1)
    found = measured("completeness", model, images, tp.rise(model, images, 2, n_masks=10))
    p, blank = (probability(model, one, 2) for one in (images[0].numpy(), np.zeros((3, SIDE, SIDE))))
    np.testing.assert_allclose(found.parts["drop"], [[p - blank]], rtol=1e-10)


def test_nothing_to_explain_has_no_completeness() -> None:
    found = measured("completeness", wrapped(Deaf()), pictures(1), given(pictures(1)[:, :1], (1,)))
    assert found.status == ("no_change",)
    assert "an output that does not change" in str(found)
