"""The exam's truths are true, the truth passes and what is wrong fails, for reasons that are known beforehand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

import pytest
import torch
from torch import Tensor

import tapetum as tp
from tapetum import registry
from tapetum.families.exams.marking import CLEAR, chance, margins, mass
from tapetum.families.exams.networks import CELLS, PATTERNS, SIDE
from tapetum.families.exams.passed import PASSED
from tapetum.types import Attribution, Localization, MethodError

NETWORKS = {one.name: one for one in tp.exam_networks(n=3)}


def answer(network: tp.ExamNetwork, images: Tensor) -> Tensor:
    with torch.no_grad():
        return network.model.module(images)[:, network.target]


def kept(image: Tensor, places: tuple[int, ...], hidden: float = 0.0) -> Tensor:
    """The picture with all places but these in one colour."""
    mask = torch.zeros(CELLS**2, dtype=torch.bool)
    mask[list(places)] = True
    large = mask.reshape(CELLS, CELLS).repeat_interleave(SIDE, 0).repeat_interleave(SIDE, 1)
    return torch.where(large, image, torch.full_like(image, hidden))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_truth_is_the_shapley_value_of_every_place_that_shows_a_pattern(name: str) -> None:
    network = NETWORKS[name]
    image, truth = network.images[0], network.places[0].flatten()
    shown = [place for place in range(CELLS**2) if truth[place] != 0 or network.decoys[0].flatten()[place]]
    subsets = [some for k in range(len(shown) + 1) for some in combinations(shown, k)]
    values = dict(zip(subsets, answer(network, torch.stack([kept(image, some) for some in subsets])).tolist(), strict=True))
    for place in shown:
        total = 0.0
        for some in subsets:
            if place not in some:
                weight = math.factorial(len(some)) * math.factorial(len(shown) - len(some) - 1) / math.factorial(len(shown))
                total += weight * (values[tuple(sorted((*some, place)))] - values[some])
        assert total == pytest.approx(float(truth[place]), abs=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_truth_is_complete_and_places_without_a_pattern_change_nothing(name: str) -> None:
    network = NETWORKS[name]
    whole, nothing = answer(network, network.images), answer(network, torch.zeros_like(network.images))
    torch.testing.assert_close(network.truth.sum((1, 2, 3)), whole - nothing)
    marked = (network.places != 0) | network.decoys
    for image, some, said in zip(network.images, marked, whole, strict=True):
        places = tuple(some.flatten().nonzero()[:, 0].tolist())
        torch.testing.assert_close(answer(network, kept(image, places)[None])[0], said)


@pytest.mark.parametrize("colour", [-1.0, 0.3, 1.0])
def test_a_place_that_is_hidden_by_any_colour_counts_as_absent(colour: float) -> None:
    for network in NETWORKS.values():
        said = answer(network, torch.stack([kept(image, (), colour) for image in network.images]))
        torch.testing.assert_close(said, answer(network, torch.zeros_like(network.images)))


def test_patterns_are_orthogonal_and_of_mean_zero() -> None:
    flat = torch.stack([one.flatten() for one in PATTERNS.values()])
    torch.testing.assert_close(flat @ flat.T, SIDE**2 * torch.eye(len(flat), dtype=flat.dtype))
    assert flat.sum(1).abs().max() == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_the_truth_has_full_marks_and_its_opposite_and_random_maps_none(name: str) -> None:
    network = NETWORKS[name]
    least = 1 if name not in ("cancellation", "inhibition") else 1 / 3  # a and b of 3/4 and -1/4: the step to 0 is a third
    assert float(margins(network, network.perfect).min()) >= least - 1e-9
    torch.testing.assert_close(mass(network, network.perfect), torch.ones(3, dtype=torch.float64))
    assert float(margins(network, network.as_map(-network.truth)).max()) <= CLEAR
    assert float(mass(network, network.as_map(-network.truth)).max()) == 0
    assert 0 < float(chance(network, 0)) < 0.3  # one to three places of sixteen


def test_failures_that_are_known_beforehand_are_found() -> None:
    names = [
        "saliency",
        "grad_cam",
        "hires_cam",
        "integrated_gradients",
        "feature_ablation",
        "ablation_cam",
        "random_attribution",
    ]
    exam = tp.exam_methods(names, n=3)
    passed = {
        name: dict(zip(exam.networks, row, strict=True)) for name, row in zip(exam.methods, exam.passed.tolist(), strict=True)
    }
    assert all(passed["integrated_gradients"].values())
    assert not any(passed["random_attribution"].values())
    assert [name for name, good in passed["saliency"].items() if not good] == ["saturation"]  # no slope where it is clipped
    assert [name for name, good in passed["feature_ablation"].items() if not good] == ["saturation"]  # either alone is enough
    assert not passed["ablation_cam"]["saturation"]
    assert [name for name, good in passed["grad_cam"].items() if not good] == [
        "saturation",
        "position",
    ]  # one weight, all places
    assert [name for name, good in passed["hires_cam"].items() if not good] == ["saturation"]


def test_what_a_method_refuses_has_no_marks_and_says_why() -> None:
    exam = tp.exam_methods(["attention_rollout"], n=1)
    assert exam.found.isnan().all()
    assert not exam.passed.any()
    assert "no attention" in exam.refusals[0]
    with pytest.raises(MethodError, match="visualize makes no maps"):
        tp.exam_methods("visualize")
    with pytest.raises(MethodError, match="saliency is no metric"):
        tp.exam_metrics("saliency")


@pytest.fixture
def sparsest() -> Iterator[str]:
    """A metric that is blind to where a map points: the true map is the sparsest, and so is one of decoys."""

    def sparsest(attribution: Attribution, masks: Tensor) -> Localization:
        """The share of pixels without relevance."""
        found = tp.relevance_mass(attribution, masks)
        return type(found)(**{**vars(found), "value": (attribution.heatmap().abs() < 1e-9).double().mean((1, 2))})

    tp.metric(cite=None)(sparsest)
    yield "sparsest"
    del registry._methods["sparsest"]


def test_a_metric_that_is_blind_to_places_fails(sparsest: str) -> None:
    exam = tp.exam_metrics([sparsest, "relevance_mass"], n=3)
    assert exam.passed.tolist() == [False, True]
    assert float(exam.wins[0].max()) == 0
    assert float(exam.loses[0].max()) <= 0.5  # noise loses; shuffled truths are as sparse as the truth


def test_the_metrics_of_a_verdict_pass_the_exam() -> None:
    names = ["deletion", "insertion", "relevance_mass"]
    assert set(names) <= PASSED
    assert tp.exam_metrics(names, n=2).passed.all()


def test_metrics_that_make_the_map_again_are_given_methods() -> None:
    exam = tp.exam_metrics(["efficient_parameter_randomization", "random_logit"], n=2)
    assert exam.passed.tolist() == [True, False]  # the other class's logit is the opposite: the same magnitudes
    assert exam.refusals == ("", "")
    assert float(exam.wins[1].max()) == 0


def test_what_rounding_leaves_of_a_map_finds_nothing() -> None:
    for one in tp.exam_networks(n=2):
        tiny = one.as_map(1e-14 * one.truth / one.truth.abs().max())  # the truth in shape, in size what an exact 0 becomes
        assert float(margins(one, tiny).abs().max()) == float(mass(one, tiny).max()) == 0
