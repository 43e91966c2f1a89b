"""Metrics that make a map again on random networks or for other classes: second derivations, closed forms, refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import entropy, spearmanr
from torch import Tensor, nn
from zoo import CLASSES, SIDE, pictures, shared, vision_model

import tapetum as tp
from tapetum.families.metrics.randomizing import discrete_entropy
from tapetum.models.randomizing import Randomized, stretches
from tapetum.types import Attribution, MethodError

ALL = ["parameter_randomization", "smooth_parameter_randomization", "efficient_parameter_randomization", "random_logit"]
TARGETS = [1, 3]


def spearman(a: Tensor, b: Tensor) -> float:
    return float(np.asarray(spearmanr(a.flatten().numpy(), b.flatten().numpy()))[0])


def sizes(model: Any, image: Tensor, target: int) -> Tensor:
    return tp.saliency(model, image, [target]).heatmap(None).abs()


def networks(model: Any, image: Tensor, order: str, seed: int, steps: int) -> list[Any]:
    """States of random networks, put together here from `untrained` (the nets of these tests have no batch-norms)."""
    layers, drawn = stretches(model, steps), tp.untrained(model, seed).module.state_dict()
    made = []
    for depth in range(len(layers)):
        chosen = layers[: depth + 1] if order == "cascading" else layers[depth : depth + 1]
        inside = {owner for one in chosen for owner in one.owners}
        state = {key: drawn[key] if key.rpartition(".")[0] in inside else one for key, one in model.module.state_dict().items()}
        made.append(state)
    return made


@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_parameter_randomization_is_the_mean_rank_correlation_with_random_networks(order: Any) -> None:
    model, images = shared("residual"), pictures(2)
    maps = tp.saliency(model, images, TARGETS)
    found = tp.parameter_randomization(model, images, maps, order=order, steps=3, seeds=2)
    other = vision_model("residual")
    expected = torch.zeros(2, 2, 3, dtype=torch.float64)
    for seed in range(2):
        for depth, state in enumerate(networks(model, images, order, seed, 3)):
            other.module.load_state_dict(state)
            for row, target in enumerate(TARGETS):
                image = images[row : row + 1]
                expected[row, seed, depth] = spearman(sizes(model, image, target), sizes(other, image, target))
    torch.testing.assert_close(found.parts["similarity"], expected.mean(1))
    torch.testing.assert_close(found.value, expected.mean((1, 2)))
    assert found.better == "lower"


def test_smooth_randomization_without_noise_is_the_plain_one() -> None:
    model, images = shared("residual"), pictures(2)
    maps = tp.saliency(model, images, TARGETS)
    plain = tp.parameter_randomization(model, images, maps, steps=3, seeds=2)
    for given in ({"n_samples": 1}, {"n_samples": 3, "sigma": 0.0}):
        smooth = tp.smooth_parameter_randomization(model, images, maps, steps=3, seeds=2, **given)
        torch.testing.assert_close(smooth.value, plain.value)


def test_smooth_randomization_is_the_correlation_of_mean_magnitudes() -> None:
    model, image = shared("residual"), pictures(1)
    maps = tp.saliency(model, image, [1])
    found = tp.smooth_parameter_randomization(model, image, maps, steps=1, seeds=1, n_samples=4, sigma=0.2)
    noise = torch.randn(3, *image.shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(image)
    copies = torch.cat([image, image + 0.2 * (image.max() - image.min()) * noise])
    means = []
    for network in (model, tp.untrained(model, 0)):
        each = tp.saliency(network, copies, [1] * 4).heatmap(None)
        means.append((each / each.amax((1, 2), keepdim=True)).mean(0))
    assert found.value.item() == pytest.approx(spearman(*means))


def test_efficient_randomization_is_the_rise_of_the_entropy_of_the_histogram() -> None:
    model, images = shared("residual"), pictures(2)
    found = tp.efficient_parameter_randomization(model, images, tp.saliency(model, images, TARGETS), bins=20, seeds=2)
    for row, target in enumerate(TARGETS):
        image = images[row : row + 1]
        own, *others = (
            entropy(torch.histogram(sizes(one, image, target), 20).hist.flatten().numpy())
            for one in (model, tp.untrained(model, 0), tp.untrained(model, 1))
        )
        assert found.value[row].item() == pytest.approx(sum((one - own) / own for one in others) / 2)
    assert found.better == "higher"


def test_entropy_of_m_equal_bins_is_ln_m_and_of_a_constant_map_zero() -> None:
    assert discrete_entropy(torch.arange(8.0).repeat(5), 8).item() == pytest.approx(math.log(8))
    assert discrete_entropy(torch.tensor([0.0, 0.0, 1.0, 1.0]), 100).item() == pytest.approx(math.log(2))
    assert discrete_entropy(torch.ones(9), 10).item() == 0


def test_random_logit_is_the_mean_over_other_classes_and_over_all_of_them_with_many_draws() -> None:
    model, images = shared("residual"), pictures(2)
    found = tp.random_logit(model, images, tp.saliency(model, images, TARGETS), seeds=40)
    for row, target in enumerate(TARGETS):
        image = images[row : row + 1]
        every = {spearman(sizes(model, image, target), sizes(model, image, k)) for k in range(CLASSES) if k != target}
        drawn = found.parts["similarity"][row].tolist()
        assert all(any(abs(one - two) < 1e-9 for two in every) for one in drawn)
        assert len({round(one, 9) for one in drawn}) == len(every)
        assert found.value[row].item() == pytest.approx(sum(drawn) / 40)


def test_a_map_that_does_not_look_at_the_network_is_the_same_for_all_and_its_complexity_does_not_rise() -> None:
    model, images = shared("residual"), pictures(2)
    maps = tp.edge_attribution(model, images, TARGETS)
    for name in ("parameter_randomization", "smooth_parameter_randomization", "random_logit"):
        torch.testing.assert_close(getattr(tp, name)(model, images, maps).value, torch.ones(2, dtype=torch.float64))
    assert tp.efficient_parameter_randomization(model, images, maps).value.tolist() == [0, 0]


class TwoSides(nn.Module):
    """Class 0 sums the left half of the image, class 1 the right half: their maps have nothing in common."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * SIDE * SIDE, 2, bias=False)
        left = (torch.arange(SIDE) < SIDE // 2).double().expand(3, SIDE, SIDE).flatten()
        self.linear.weight.data = torch.stack([left, 1 - left])

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


def test_maps_of_opposite_halves_have_a_random_logit_of_minus_one() -> None:
    model, images = tp.wrap(TwoSides(), size=SIDE), pictures(1)
    assert tp.random_logit(model, images, tp.saliency(model, images, [0])).value.item() == pytest.approx(-1)


@pytest.mark.parametrize("name", ["in_place", "branches", "vit_token"])
@pytest.mark.parametrize("metric", ALL)
def test_an_images_number_does_not_depend_on_the_others_also_with_batch_norms(metric: str, name: str) -> None:
    model, images = shared(name), pictures(3)
    maps = tp.saliency(model, images, [1, 3, 0])
    measure, few = getattr(tp, metric), {"seeds": 2} if metric == "random_logit" else {"seeds": 1, "steps": 2}
    few = {"seeds": 1} if metric.startswith("efficient") else few
    together = measure(model, images, maps, **few)
    for row in range(3):
        alone = measure(model, images[row : row + 1], maps[row : row + 1], **few)
        assert torch.equal(alone.value, together.value[row : row + 1])


@pytest.mark.parametrize("metric", ALL)
def test_a_map_that_was_made_otherwise_is_refused_until_it_is_said_how(metric: str) -> None:
    model, images = shared("residual"), pictures(1)
    maps = tp.smooth_grad(model, images, [1], n_samples=3, seed=5)
    few: dict[str, Any] = {"seeds": 1}
    with pytest.raises(MethodError, match=f"{metric} makes the map again, and smooth_grad with its defaults gives another"):
        getattr(tp, metric)(model, images, maps, **few)
    found = getattr(tp, metric)(model, images, maps, parameters={"n_samples": 3, "seed": 5}, **few)
    assert found.status == ("ok",)
    cam = tp.grad_cam(model, images, [1], layer="first")  # the layer is known from the map
    assert getattr(tp, metric)(model, images, cam, **few).status == ("ok",)
    stranger = replace(cam, method="by_hand")
    with pytest.raises(MethodError, match="no method is called 'by_hand'"):
        getattr(tp, metric)(model, images, stranger, **few)


def test_random_logit_needs_classes() -> None:
    model, images = shared("residual"), pictures(1)
    with pytest.raises(MethodError, match="explain no classes"):
        tp.random_logit(model, images, tp.saliency(model, images, tp.contrast(0, 1)))


@pytest.mark.parametrize("metric", ALL)
def test_maps_that_say_nothing_have_a_reason_and_are_not_made_again(metric: str) -> None:
    model, images = shared("residual"), pictures(3)
    maps = tp.saliency(model, images, [1, 3, 0])
    values = maps.values.clone()
    values[0], values[1, 0, 0, 0] = 0, torch.nan
    found = getattr(tp, metric)(model, images, replace(maps, values=values, status=("constant", "non_finite", "ok")), seeds=1)
    assert found.status == ("zero", "non_finite", "ok")
    assert found.value.isnan().tolist() == [True, True, False]


class WithAge(nn.Module):
    """A network with a further input: one number per image shifts its map's place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, images: Tensor, age: Tensor) -> Tensor:
        return self.last((self.first(images).relu() ** age.view(-1, 1, 1, 1)).mean((2, 3)))


def test_each_image_keeps_its_further_input() -> None:
    torch.manual_seed(0)
    module, images, ages = WithAge().double(), pictures(2), torch.tensor([1.0, 3.0], dtype=torch.float64)
    both = tp.wrap(module, size=SIDE, extra={"age": ages})
    together = tp.parameter_randomization(both, images, tp.saliency(both, images, [0, 1]), seeds=1, steps=2)
    for row in range(2):
        one, image = tp.wrap(module, size=SIDE, extra={"age": ages[row : row + 1]}), images[row : row + 1]
        alone = tp.parameter_randomization(one, image, tp.saliency(one, image, [row]), seeds=1, steps=2)
        torch.testing.assert_close(alone.value, together.value[row : row + 1])


def test_an_attribution_with_a_callable_target_is_made_again() -> None:
    model, images = shared("residual"), pictures(2)
    maps = tp.saliency(model, images, lambda output: output[:, 0] - output[:, 1])
    found = tp.parameter_randomization(model, images, maps, seeds=1, steps=1)
    assert isinstance(maps, Attribution)
    copy = Randomized(model)
    copy.randomize(stretches(model, 1), 0)
    again = tp.saliency(copy.fit(images), images, lambda output: output[:, 0] - output[:, 1])
    pairs = zip(maps.heatmap(None), again.heatmap(None), strict=True)
    torch.testing.assert_close(found.value, torch.tensor([spearman(a, b) for a, b in pairs], dtype=torch.float64))
