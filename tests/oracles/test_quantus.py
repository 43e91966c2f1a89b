"""The same numbers as Quantus 0.6.0 and captum 0.9.0, where they define a metric as we do; and where they do not, how.

Quantus counts each value of each channel as a place, so most comparisons are on grey pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import captum.attr
import captum.metrics
import numpy as np
import pytest
import quantus
import torch
from numpy.typing import NDArray
from quantus.functions import perturb_func
from torch import Tensor, nn

import tapetum as tp
from tapetum.engines.perturb.imputation import imputed
from tapetum.engines.similarity import correlation
from tapetum.families.metrics.effects import hidden_effects, places, random_squares
from tapetum.models.vision_model import VisionModel
from tapetum.types import Attribution, Evaluation

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]

N, SIDE, CLASSES = 3, 12, 4
TARGETS = (1, 3, 0)
CLOSE: dict[str, Any] = {"rtol": 2e-4, "atol": 2e-6}
"""Single precision; Quantus copies to NumPy and back."""


def network(channels: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(150, CLASSES), nn.BatchNorm1d(CLASSES)
    ).eval()


def model(channels: int = 1) -> VisionModel:
    return tp.wrap(network(channels), size=SIDE, mean=(0.0,) * channels, std=(1.0,) * channels)


def images(channels: int = 1) -> Tensor:
    return torch.randn(N, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def maps(channels: int = 1) -> Attribution:
    values = torch.randn(N, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    return Attribution(values, "given", ("ok",) * N, ("t",) * N, (SIDE, SIDE), TARGETS)


def measured(metric: str, of: Attribution, channels: int = 1, **keywords: Any) -> Evaluation:
    return tp.lookup(metric).function(model(channels), images(channels), of, **keywords)


def asked(metric: Any, of: Attribution, channels: int = 1, softmax: bool = False, **more: Any) -> NDArray[Any]:
    about = {"x_batch": images(channels).numpy(), "y_batch": np.array(TARGETS), "a_batch": of.values.numpy()}
    return np.asarray(metric(model=network(channels), softmax=softmax, **about, **more))


imputed_by_quantus: Any = perturb_func.noisy_linear_imputation
USUAL: dict[str, Any] = {"normalise": False, "disable_warnings": True}
"""Quantus divides maps by their maximum first, unless it is told not to."""


def test_the_curve_of_pixel_flipping() -> None:
    black = images().amin((1, 2, 3), keepdim=True).expand(-1, 1, SIDE, SIDE)
    theirs = asked(quantus.PixelFlipping(features_in_step=9, **USUAL), maps(), softmax=True)
    ours = measured("pixel_flipping", maps(), n_steps=16, fill=black)
    np.testing.assert_allclose(ours.curve[:, 1:], theirs, **CLOSE)


@pytest.mark.parametrize("share", [0.1, 0.6, 0.97])
def test_linear_imputation(share: float) -> None:
    picture, order = images(3)[0], torch.randperm(SIDE * SIDE, generator=torch.Generator().manual_seed(3))
    chosen = order[: int(share * SIDE * SIDE)]
    hidden = torch.zeros(SIDE * SIDE, dtype=torch.bool).index_fill(0, chosen, True).view(SIDE, SIDE)
    theirs = imputed_by_quantus(arr=picture.numpy(), indices=chosen.numpy(), noise=0.0)
    np.testing.assert_allclose(imputed(picture, hidden), theirs, rtol=1e-5, atol=1e-6)


def outputs_during(module: nn.Module, work: Any) -> list[Tensor]:
    seen: list[Tensor] = []
    with module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.softmax(1).detach().clone())):
        work(module)
    return seen


def test_the_pictures_of_road_have_the_same_probabilities_and_quantus_counts_which_keep_their_class() -> None:
    shares = (0.1, 0.3, 0.5, 0.9)
    road: Any = quantus.ROAD(percentages=[100 * one for one in shares], noise=0.0, **USUAL)
    about: dict[str, Any] = {"x_batch": images().numpy(), "y_batch": np.array(TARGETS), "a_batch": maps().values.numpy()}
    answer: dict[float, float] = {}
    seen = outputs_during(network(), lambda module: answer.update(road(model=module, softmax=True, **about)))
    theirs = torch.stack([one[range(N), list(TARGETS)] for one in seen[-len(shares) :]], 1)
    ours = measured("road", maps(), shares=shares, noise=0.0)
    np.testing.assert_allclose(ours.parts["highest_first"], theirs, **CLOSE)
    kept = [float((one.argmax(1) == torch.tensor(TARGETS)).float().mean()) for one in seen[-len(shares) :]]
    np.testing.assert_allclose(list(answer.values()), kept)


def test_quantus_cannot_measure_road_of_colour_images_and_forgets_all_batches_but_the_first() -> None:
    """What docs/limits.md says."""
    with pytest.raises(IndexError, match="out of bounds"):
        asked(quantus.ROAD(percentages=[50], noise=0.0, **USUAL), maps(3), channels=3)
    about: dict[str, Any] = {"x_batch": images().numpy(), "y_batch": np.array(TARGETS), "a_batch": maps().values.numpy()}
    road: Any = lambda: quantus.ROAD(percentages=[10, 50, 90], noise=0.0, **USUAL)  # noqa: E731
    one = road()(model=network(), batch_size=1, **about)
    alone = road()(model=network(), **{name: part[:1] for name, part in about.items()})
    assert list(one.values()) == list(alone.values())


def test_faithfulness_correlation_of_the_same_sets() -> None:
    """Quantus draws a set for each image and run; ours are given the same."""
    drawn: list[NDArray[Any]] = []

    def hidden(arr: NDArray[Any], indices: NDArray[Any], **_: Any) -> NDArray[Any]:
        drawn.append(indices)
        moved = arr.copy()
        np.put_along_axis(moved, indices, 0, 1)
        return moved

    asks = quantus.FaithfulnessCorrelation(nr_runs=20, subset_size=13, perturb_func=hidden, return_aggregate=False, **USUAL)
    theirs = asked(asks, maps())
    for row in range(N):
        sets = torch.zeros(20, SIDE * SIDE).scatter(1, torch.from_numpy(np.stack([one[row] for one in drawn])), 1)
        picture, score = images()[row : row + 1], tp.as_score(model(), images(), list(TARGETS)).take([row])
        ranking = maps().values[row : row + 1, 0]
        effects = hidden_effects(score, picture, ranking, places(picture, None), sets, 0 * picture, 16)
        np.testing.assert_allclose(correlation(effects.attributed, effects.drop), theirs[row : row + 1], **CLOSE)


@pytest.mark.parametrize("normalize", [False, True])
def test_infidelity_of_slopes_is_captum_s(normalize: bool) -> None:
    squares = random_squares((SIDE, SIDE), SIDE // 4, 10, seed=3).view(10, 1, SIDE, SIDE).repeat(N, 1, 1, 1)

    def removed(inputs: Tensor) -> tuple[Tensor, Tensor]:
        return squares * inputs, inputs - squares * inputs

    slopes = captum.attr.Saliency(network(3)).attribute(images(3), torch.tensor(TARGETS), abs=False)
    given = replace(maps(3), values=slopes + slopes.std() * maps(3).values)  # in the right direction: ours takes b >= 0
    theirs = captum.metrics.infidelity(
        network(3), removed, images(3), given.values, target=torch.tensor(TARGETS), n_perturb_samples=10, normalize=normalize
    )
    ours = measured("infidelity", given, 3, values="slopes", scaled=normalize, n_samples=10, seed=3)
    np.testing.assert_allclose(ours.value, theirs, **CLOSE)


def noise(radius: float, n: int, channels: int, seed: int) -> Tensor:
    unit = torch.rand(n, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (radius * (2 * unit - 1)).float()


def gradient_x_input(module: nn.Module, inputs: Tensor, target: Tensor) -> Tensor:
    with torch.enable_grad():
        x = inputs.clone().requires_grad_()
        (grads,) = torch.autograd.grad(module(x).gather(1, target[:, None]).sum(), x)
    return (grads * x).detach()


def test_max_sensitivity_is_captum_s_and_both_are_quantus_s_with_the_same_noise() -> None:
    draws, net = noise(0.02, 10, 3, seed=4), network(3)
    of = tp.input_x_gradient(model(3), images(3), list(TARGETS))
    about = {"radius": 0.02, "n_samples": 10, "seed": 4}
    largest, mean = (measured(name, of, 3, **about).value for name in ("max_sensitivity", "average_sensitivity"))

    theirs = captum.metrics.sensitivity_max(
        lambda inputs, target: (gradient_x_input(net, inputs[0], target),),
        (images(3),),
        perturb_func=lambda inputs: (inputs + draws.repeat(N, 1, 1, 1),),
        target=torch.tensor(TARGETS),
    )
    np.testing.assert_allclose(largest, theirs, rtol=1e-3)

    for metric, ours in ((quantus.MaxSensitivity, largest), (quantus.AvgSensitivity, mean)):
        steps: Iterator[NDArray[Any]] = iter(draws.numpy())

        def moved(arr: NDArray[Any], steps: Iterator[NDArray[Any]] = steps, **_: Any) -> NDArray[Any]:
            return arr + next(steps).ravel()

        def explained(model: nn.Module, inputs: NDArray[Any], targets: NDArray[Any], **_: Any) -> NDArray[Any]:
            return gradient_x_input(model, torch.as_tensor(inputs).float(), torch.as_tensor(targets)).numpy()

        asks = metric(nr_samples=10, perturb_func=moved, perturb_func_kwargs={}, **USUAL)
        np.testing.assert_allclose(ours, asked(asks, of, 3, explain_func=explained), rtol=1e-3)


def test_a_map_is_complete_for_quantus_where_our_error_is_zero() -> None:
    """Small whole numbers, which have no rounding."""
    linear = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 2, bias=False)).eval()
    weight = torch.randint(-3, 4, (2, SIDE * SIDE), generator=torch.Generator().manual_seed(0)).float()
    linear.get_parameter("1.weight").data.copy_(weight)
    x = torch.randint(-4, 5, (2, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(1)).float()
    shares = torch.stack([weight[0].view(1, SIDE, SIDE) * x[0], weight[1].view(1, SIDE, SIDE) * x[1] + 1])
    of = Attribution(shares, "given", ("ok", "ok"), ("a", "b"), (SIDE, SIDE), (0, 1))
    wrapped = tp.wrap(linear, size=SIDE, mean=(0.0,), std=(1.0,))
    complete: Any = quantus.Completeness
    theirs = complete(perturb_baseline=0.0, **USUAL)(
        model=linear, x_batch=x.numpy(), y_batch=np.array([0, 1]), a_batch=shares.numpy(), softmax=False
    )
    ours = tp.lookup("completeness").function(wrapped, x, of).value
    assert [bool(one) for one in theirs] == [True, False] == (ours == 0).tolist()
