"""Deletion and insertion: the areas of a plain loop, and fair to maps with ties."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from zoo import SIDE, net, pictures, shared, wrapped

import tapetum as tp
from tapetum.families.metrics.curves import EVIDENCE
from tapetum.models.vision_model import VisionModel
from tapetum.types import Attribution, MethodError, TapetumError, Unit

PIXELS = SIDE * SIDE


def linear(classes: int = 5, strength: float = 1.0) -> VisionModel:
    """One weight per value; strong enough that the probability moves."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        last = nn.Linear(3 * PIXELS, classes, dtype=torch.float64)
    last.weight.data *= strength
    module = nn.Sequential(nn.Flatten(), last)
    return wrapped(module, outputs="sigmoid" if classes == 1 else "logits")


def given(values: Tensor, explains: tuple[Any, ...], **more: Any) -> Attribution:
    n = len(values)
    return Attribution(values, "given", ("ok",) * n, ("target",) * n, (SIDE, SIDE), explains, **more)


def last_layer(model: VisionModel) -> nn.Linear:
    last = model.module.get_submodule("1")
    assert isinstance(last, nn.Linear)
    return last


def probability(model: VisionModel, image: np.ndarray, target: int) -> float:
    """By hand, in numpy: softmax, or for one output the sigmoid."""
    layer = last_layer(model)
    table = layer.weight.detach().numpy() @ image.ravel() + layer.bias.detach().numpy()
    if len(table) == 1:
        return float(1 / (1 + np.exp(-table[0])))
    return float(np.exp(table[target]) / np.exp(table).sum())


def loop(model: VisionModel, image: Tensor, ranking: Tensor, target: int, steps: int, fill: Tensor, insert: bool) -> float:
    """Brute force: one pixel order, one picture a step, the trapezoid."""
    order = np.argsort(-ranking.numpy().ravel(), kind="stable")
    curve = []
    for step in range(steps + 1):
        here = image.numpy().copy().reshape(3, -1)
        there = fill.numpy().reshape(3, -1)
        chosen = order[: round(PIXELS * step / steps)]
        if insert:
            start = there.copy()
            start[:, chosen] = here[:, chosen]
            here = start
        else:
            here[:, chosen] = there[:, chosen]
        curve.append(probability(model, here, target))
    return float(np.trapezoid(curve, dx=1 / steps))


@pytest.mark.parametrize("steps", [1, 7, 32])
@pytest.mark.parametrize("classes", [1, 5])
@pytest.mark.parametrize("metric", ["deletion", "insertion"])
def test_the_area_is_that_of_a_plain_loop(metric: str, classes: int, steps: int) -> None:
    model, images = linear(classes, 3), pictures(2)
    targets = [0, classes - 1]
    maps = pictures(2, seed=5)[:, :1]
    fill = pictures(1, seed=6)[0]
    result = tp.lookup(metric).function(model, images, given(maps, tuple(targets)), n_steps=steps, fill=fill)
    expected = [loop(model, images[row], maps[row, 0], targets[row], steps, fill, metric == "insertion") for row in range(2)]
    np.testing.assert_allclose(result.value, expected, rtol=1e-10)
    assert result.curve.shape == (2, steps + 1)
    assert torch.equal(result.fraction, torch.linspace(0, 1, steps + 1, dtype=torch.float64))
    assert result.better == {"deletion": "lower", "insertion": "higher"}[metric]


def test_evidence_hides_and_shows_fourteen_squares_a_side_one_row_of_them_a_step_against_a_blur() -> None:
    """By hand for 28 px: squares of 2 px, fourteen of the 196 a step, a blur of 1.4 px by scipy."""
    side, squares = 28, 14
    torch.manual_seed(0)
    last = nn.Linear(3 * side * side, 5, dtype=torch.float64)
    last.weight.data *= 3
    model = tp.wrap(nn.Sequential(nn.Flatten(), last), size=side, mean=(0.0,) * 3, std=(1.0,) * 3)
    images, values = pictures(1, side), pictures(1, side, seed=5)[:, :1]
    image = images[0].numpy()
    blank = gaussian_filter(image, (0, side / 20, side / 20), mode="mirror", radius=(0, 4, 4))
    means = values[0, 0].numpy().reshape(squares, 2, squares, 2).mean((1, 3))
    ranks = means.ravel().argsort()[::-1].argsort().reshape(squares, squares).repeat(2, 0).repeat(2, 1)
    hidden = [np.where(ranks < squares * step, blank, image) for step in range(squares + 1)]
    shown = [np.where(ranks < squares * step, image, blank) for step in range(squares + 1)]
    deletion, insertion = (
        np.trapezoid([probability(model, one, 2) for one in curve], dx=1 / squares) for curve in (hidden, shown)
    )
    attribution = Attribution(values, "given", ("ok",), ("target",), (side, side), (2,))
    found = {name: tp.lookup(name).function(model, images, attribution, **given).value for name, given in EVIDENCE.items()}
    np.testing.assert_allclose(found["insertion"] - found["deletion"], [insertion - deletion], rtol=1e-5)


def test_both_curves_begin_and_end_where_they_must() -> None:
    model, images = linear(strength=3), pictures(1)
    whole = probability(model, images[0].numpy(), 2)
    nothing = probability(model, np.zeros((3, SIDE, SIDE)), 2)
    attribution = tp.saliency(model, images, 2)
    ends = tp.deletion(model, images, attribution).curve[0, [0, -1]]
    np.testing.assert_allclose(ends, [whole, nothing], rtol=1e-10)
    ends = tp.insertion(model, images, attribution, fill="zero").curve[0, [0, -1]]
    np.testing.assert_allclose(ends, [nothing, whole], rtol=1e-10)


def test_hiding_a_share_equals_showing_the_rest_of_the_reversed_map() -> None:
    model, images = linear(strength=3), pictures(1)
    maps = pictures(1, seed=3)[:, :1]
    deleted = tp.deletion(model, images, given(maps, (2,)), n_steps=8).curve
    shown = tp.insertion(model, images, given(-maps, (2,)), n_steps=8, fill="zero").curve
    torch.testing.assert_close(deleted, shown.flip(1), rtol=1e-10, atol=0)


def test_the_perfect_map_beats_noise_which_beats_the_reversed_map() -> None:
    model, images = linear(strength=3), pictures(1)
    weights = last_layer(model).weight.detach().view(5, 3, SIDE, SIDE)
    target = 2
    share = ((weights[target] - weights.mean(0)) * images).sum(1, keepdim=True)
    noise = pictures(1, seed=9)[:, :1]
    areas = {
        metric: [
            float(tp.lookup(metric).function(model, images, given(m, (target,)), fill="zero").value)
            for m in (share, noise, -share)
        ]
        for metric in ("deletion", "insertion")
    }
    assert areas["deletion"] == sorted(areas["deletion"])
    assert areas["insertion"] == sorted(areas["insertion"], reverse=True)
    assert areas["deletion"][2] - areas["deletion"][0] > 0.2


class TopHalf(nn.Module):
    """Only the first rows speak for class 1: a raster order would be the perfect order."""

    def forward(self, images: Tensor) -> Tensor:
        evidence = images[:, :, : SIDE // 2].mean((1, 2, 3))
        return torch.stack([0 * evidence, 8 * evidence], 1)


def test_equal_pixels_are_hidden_in_a_random_order_not_row_by_row() -> None:
    model, images = wrapped(TopHalf()), torch.ones(1, 3, SIDE, SIDE, dtype=torch.float32)
    constant = tp.deletion(model, images, given(torch.ones(1, 1, SIDE, SIDE), (1,))).value
    rows = torch.arange(SIDE, dtype=torch.float32).view(1, 1, SIDE, 1).expand(1, 1, SIDE, SIDE)
    raster = tp.deletion(model, images, given(-rows, (1,))).value
    backwards = tp.deletion(model, images, given(rows, (1,))).value
    # a random order hides the half that matters evenly: p(share) = sigmoid(8 (1 - share))
    random = float(np.trapezoid([1 / (1 + math.exp(-8 * (1 - k / 32))) for k in range(33)], dx=1 / 32))
    assert float(constant) == pytest.approx(random, abs=0.02)  # 256 pixels: the shares of a random order vary by ~3 %
    assert float(raster) < random - 0.15 < random + 0.03 < float(backwards)
    again = tp.deletion(model, images, given(torch.full((1, 1, 4, 4), 0.5), (1,))).value
    assert torch.equal(again, constant)  # and the order is a fixed one


def test_a_map_with_nan_has_no_area() -> None:
    model, images = linear(strength=3), pictures(2)
    values = pictures(2, seed=4)[:, :1].clone()
    values[0, 0, 3, 3] = torch.nan
    attribution = Attribution(values, "given", ("non_finite", "ok"), ("a", "b"), (SIDE, SIDE), (1, 1))
    for metric in ("deletion", "insertion"):
        area = tp.lookup(metric).function(model, images, attribution).value
        assert area.isnan().tolist() == [True, False]


def test_the_sign_counts_also_where_the_heatmap_shows_the_positive_part() -> None:
    """What speaks against the target is hidden last; a heatmap's zeros alone would be a tie."""
    model, images = linear(strength=3), pictures(1)
    values = pictures(1, seed=4)[:, :1]
    signed = tp.deletion(model, images, given(values, (2,), reduce="positive")).value
    assert torch.equal(signed, tp.deletion(model, images, given(values, (2,))).value)
    largest = tp.deletion(model, images, given(values, (2,), reduce="max_abs")).value
    assert torch.equal(largest, tp.deletion(model, images, given(values.abs(), (2,))).value)


def test_a_coarse_map_is_ranked_as_its_heatmap_shows_it() -> None:
    model, images = linear(strength=3), pictures(1)
    coarse = given(pictures(1, 4, seed=4)[:, :1], (2,))
    fine = given(coarse.heatmap()[:, None], (2,))
    assert torch.equal(tp.deletion(model, images, coarse).curve, tp.deletion(model, images, fine).curve)


def test_a_contrast_is_measured_by_the_probability_of_one_class_against_the_other() -> None:
    model, images = linear(strength=3), pictures(2)
    attribution = tp.input_x_gradient(model, images, [tp.contrast(1, 3), 2])
    curve = tp.deletion(model, images, attribution, n_steps=4).curve
    table = model(images)
    torch.testing.assert_close(curve[0, 0], (table[0, 1] - table[0, 3]).sigmoid())
    torch.testing.assert_close(curve[1, 0], table[1].softmax(0)[2])


def test_a_unit_and_a_callable_are_measured_by_their_own_score() -> None:
    model, images = shared("reused"), pictures(1)
    unit = Unit("three", 2, (1, 3))
    curve = tp.deletion(model, images, tp.saliency(model, images, unit), n_steps=4).curve
    with tp.capture(model, "three") as acts:
        model(images)
    torch.testing.assert_close(curve[0, 0], acts["three"][0, 2, 1, 3])

    def target(output: Tensor) -> Tensor:
        return 7 * output[:, 1]

    curve = tp.insertion(model, images, tp.saliency(model, images, target), n_steps=4).curve
    torch.testing.assert_close(curve[0, -1], 7 * model(images)[0, 1])


@pytest.mark.parametrize("metric", ["deletion", "insertion"])
def test_a_batch_is_its_single_images_and_its_batch_size_does_not_matter(metric: str) -> None:
    model, images = shared("residual"), pictures(3)
    attribution = tp.saliency(model, images, [1, 3, 0])
    function = tp.lookup(metric).function
    both = function(model, images, attribution, n_steps=6, batch=7)
    for row in range(3):
        alone = function(model, images[row : row + 1], attribution[row], n_steps=6, batch=1)
        torch.testing.assert_close(both.curve[row], alone.curve[0], rtol=1e-10, atol=1e-12)


def test_single_precision_agrees_with_double() -> None:
    images = pictures(1)
    exact = tp.deletion(shared("residual"), images, tp.saliency(shared("residual"), images, 1)).value
    single = wrapped(net("residual").float())
    rough = tp.deletion(single, images.float(), tp.saliency(single, images.float(), 1)).value
    assert rough.dtype == torch.float32
    assert float((rough - exact).abs()) < 1e-4  # a few pixels of nearly equal rank may change places


def test_wrong_use_is_refused_in_one_line() -> None:
    model, images = shared("reused"), pictures(2)
    attribution = tp.saliency(model, images)
    with pytest.raises(MethodError, match=r"^2 maps were given for 1 images$"):
        tp.deletion(model, images[:1], attribution)
    with pytest.raises(MethodError, match=r"^saliency is no metric; there are deletion, insertion, "):
        tp.evaluate(model, images, attribution, ["saliency"])
    with pytest.raises(TapetumError, match="n_steps must be from 1 to 10000, not 0"):
        tp.deletion(model, images, attribution, n_steps=0)


def test_evaluate_gives_every_metric_by_name() -> None:
    model, images = shared("reused"), pictures(1)
    attribution = tp.saliency(model, images)
    both = tp.evaluate(model, images, attribution, n_steps=4)
    assert list(both) == ["deletion", "insertion"]
    assert torch.equal(vars(both["deletion"])["curve"], tp.deletion(model, images, attribution, n_steps=4).curve)


def test_evaluate_gives_each_metric_its_own_keywords_and_shares_those_that_several_have() -> None:
    model, images = shared("reused"), pictures(1)
    attribution = tp.saliency(model, images)
    own = tp.evaluate(model, images, attribution, {"deletion": {"n_steps": 4}, "completeness": {}})
    shared_ = tp.evaluate(model, images, attribution, "deletion, completeness", n_steps=4)
    assert list(own) == list(shared_) == ["deletion", "completeness"]
    assert torch.equal(own["deletion"].value, shared_["deletion"].value)
    assert len(vars(shared_["deletion"])["curve"][0]) == 5
    with pytest.raises(MethodError, match=r"^no parameter 'steps' of deletion, insertion; did you mean 'n_steps'\?$"):
        tp.evaluate(model, images, attribution, steps=4)
