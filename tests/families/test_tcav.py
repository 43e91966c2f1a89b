"""TCAV: numbers of a linear network in closed form, a null that is counted, planted concepts found and absent ones not."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tapetum as tp
from tapetum.families.concept_tests.vectors import labellings, left_out, metric_of
from tapetum.types import LayerError, MethodError, TapetumError, TargetError

C, K, SIDE = 4, 3, 6


class Colors(nn.Module):
    """A layer of C linear features of the colour, and a linear head on their means."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.features, self.head = nn.Conv2d(3, C, 1), nn.Linear(C, K)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean((2, 3)))


def network(head: list[float] | None = None) -> tp.VisionModel:
    """The network in double precision; its second logit reads the three colours themselves with the given weights."""
    module = Colors().double().eval()
    if head is not None:
        with torch.no_grad():
            module.features.weight.copy_(torch.eye(C, 3)[:, :, None, None])
            module.features.bias.zero_()
            module.head.weight[1] = torch.tensor([*head, 0.0])
    return tp.wrap(module, size=SIDE, mean=0.0, std=1.0, outputs="logits", name="colors")


def drawn(n: int, seed: int, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    """Pictures of one colour each with a little noise, (n, 3, 6, 6); `shift` is what they have in common."""
    generator = torch.Generator().manual_seed(seed)
    colors = torch.randn(n, 3, 1, 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    return colors + 0.1 * noise + torch.tensor(shift, dtype=torch.float64)[:, None, None]


def features_of(model: tp.VisionModel, images: Tensor) -> np.ndarray:
    layer = model.module.features
    return (images.mean((2, 3)) @ layer.weight[:, :, 0, 0].T + layer.bias).detach().numpy()


def test_the_effect_on_a_linear_network_is_its_weights_times_the_difference_of_the_means() -> None:
    model, concept, others = network(), drawn(9, 0, (1.0, 0.0, 0.0)), drawn(7, 1)
    found = tp.tcav(model, concept, others, 2, "features", images=drawn(5, 2), runs=99)
    a, b = features_of(model, concept), features_of(model, others)
    step = a.mean(0) - b.mean(0)
    expected = model.module.head.weight[2].detach().numpy() @ step
    assert found.sensitivity.shape == (1, 5)
    assert found.sensitivity.numpy() == pytest.approx(np.full((1, 5), expected), abs=1e-12)
    assert found.vectors[0].numpy() == pytest.approx(step / np.linalg.norm(step), abs=1e-12)
    assert float(found.score[0]) == float(expected > 0)
    moved = drawn(5, 2) + 0.0
    with tp.edit(model, {"features": lambda maps: maps + torch.tensor(step)[:, None, None]}):
        after = model(moved)[:, 2]
    assert (after - model(moved)[:, 2]).detach().numpy() == pytest.approx(np.full(5, expected), abs=1e-12)


def test_p_values_are_those_of_all_ways_to_call_four_of_eight_pictures_the_concepts() -> None:
    model, concept, others = network(), drawn(4, 3, (0.8, 0.0, 0.0)), drawn(4, 4)
    found = tp.tcav(model, concept, others, 0, "features")
    assert (found.runs, found.exact) == ((70,), (True,))
    values = np.concatenate([features_of(model, concept), features_of(model, others)])
    weight = model.module.head.weight[0].detach().numpy()
    effects, accuracies = [], []
    for chosen in itertools.combinations(range(8), 4):
        own = np.isin(np.arange(8), chosen)
        effects.append(weight @ (values[own].mean(0) - values[~own].mean(0)))
        accuracies.append(one_by_one(values, own))
    assert float(found.p_effect[0]) == np.mean(np.abs(effects) >= abs(effects[0]) - 1e-12)
    assert float(found.p_known[0]) == np.mean(np.array(accuracies) >= accuracies[0] - 1e-12)
    assert float(found.accuracy[0]) == pytest.approx(accuracies[0], abs=1e-12)
    assert float(found.p[0]) == max(float(found.p_effect[0]), float(found.p_known[0]))


def one_by_one(values: np.ndarray, own: np.ndarray) -> float:
    """Leaves out each picture, computes both means again, and asks which one is nearer."""
    right = np.zeros(len(values))
    for i in range(len(values)):
        kept = np.arange(len(values)) != i
        means = [values[kept & which].mean(0) for which in (own, ~own)]
        near, far = (np.linalg.norm(values[i] - mean) for mean in (means if own[i] else means[::-1]))
        right[i] = near < far
    return (right[own].mean() + right[~own].mean()) / 2


def test_accuracies_of_many_labellings_are_those_of_pictures_left_out_one_by_one() -> None:
    values = torch.randn(11, 3, dtype=torch.float64)
    ways = labellings(4, 7, 99, 0)
    found = left_out(values @ values.T, ways.rows)
    expected = [one_by_one(values.numpy(), rows.numpy()) for rows in ways.rows]
    assert found.numpy() == pytest.approx(np.array(expected), abs=1e-12)
    assert ways.rows.sum(1).tolist() == [4] * 99


def test_the_lda_vector_is_that_of_the_covariance_within_the_sets() -> None:
    values = torch.randn(40, 5, dtype=torch.float64) @ torch.randn(5, 5, dtype=torch.float64)
    own = torch.arange(40) < 15
    values[own] += torch.tensor([1.0, 0, 0, 0, 0])
    difference = values[own].mean(0) - values[~own].mean(0)
    vector = metric_of(values, "lda").T @ torch.where(own, 1 / 15, -1 / 25).double()
    centred = values - values.mean(0)
    covariance = centred.T @ centred / 40
    size = covariance.trace() / 5
    share = ((centred.square().sum(1) ** 2).mean() - covariance.square().sum()) / 40
    share = float(share / (covariance - size * torch.eye(5)).square().sum())  # ledoit2004well
    assert 0 < share < 0.5
    within = covariance - 15 * 25 / 40**2 * torch.outer(difference, difference)
    expected = torch.linalg.solve((1 - share) * within + share * size * torch.eye(5), difference)
    cosine = vector @ expected / vector.norm() / expected.norm()
    assert float(cosine) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("vector", ["mean", "lda"])
def test_a_planted_concept_is_found_and_an_absent_one_is_not_in_95_of_100_runs(vector: Any) -> None:
    model = network([1.5, -1.0, 0.0])
    images, found, absent = drawn(4, 999), 0, 0
    for run in range(100):
        concepts = {"red": drawn(30, 3 * run, (2.0, 0.0, 0.0)), "nothing": drawn(30, 3 * run + 1)}
        both = tp.tcav(model, concepts, drawn(30, 3 * run + 2), 1, "features", images=images, vector=vector, runs=499, seed=run)
        found += both.outcomes[0] == "raises"
        absent += float(both.p[1]) > 0.05
    assert found >= 95
    assert absent >= 95


def test_a_concept_that_the_layer_knows_and_the_answer_ignores_is_called_at_most_as_often_as_the_level_allows() -> None:
    model, called = network([1.5, -1.0, 0.0]), 0
    for run in range(150):
        found = tp.tcav(
            model, drawn(20, 2 * run, (0.0, 0.0, 3.0)), drawn(20, 2 * run + 1), 1, "features", images=drawn(2, 7), runs=199
        )
        assert float(found.p_known[0]) <= 0.05
        called += found.outcomes[0] != "none"
    assert called <= 150 * 0.05 + 2.6 * (150 * 0.05 * 0.95) ** 0.5  # 99 % of the time for an exact test


def test_p_values_hardly_depend_on_the_seed() -> None:
    model = network([1.5, -1.0, 0.0])
    for shift in (0.1, 0.5):  # p near .9 and near .05
        concept = drawn(30, 5, (shift, 0.0, 0.0))
        p = [float(tp.tcav(model, concept, drawn(30, 6), 1, "features", seed=seed).p_effect[0]) for seed in range(4)]
        assert max(p) - min(p) < 0.02  # each within .01 of their middle


def test_an_answer_is_lowered_by_a_concept_that_speaks_against_it_and_holm_counts_all_concepts() -> None:
    model = network([-2.0, 0.0, 1.0])
    concepts = {"red": drawn(20, 0, (3.0, 0.0, 0.0)), "blue": drawn(20, 1, (0.0, 0.0, 3.0)), "none": drawn(20, 2)}
    found = tp.tcav(model, concepts, drawn(20, 3), 1, "features", runs=999)
    assert found.names == ("red", "blue", "none")
    assert found.outcomes == ("lowers", "raises", "unknown")
    assert found.p[:2].tolist() == pytest.approx([0.003, 0.003])
    assert "lowers it" in str(found)


def test_random_vectors_alone_have_extreme_tcav_scores_where_the_gradient_does_not_vary() -> None:
    found = tp.tcav(network(), drawn(12, 0), drawn(12, 1), 1, "features", runs=999)
    assert found.null_score[0].tolist() == [0, 1]


def test_nothing_is_kept_under_the_name_of_a_concept() -> None:
    model, others = network([1.0, 0.0, 0.0]), drawn(20, 1)
    first = tp.tcav(model, {"same": drawn(20, 0, (2.0, 0.0, 0.0))}, others, 1, "features", runs=199)
    second = tp.tcav(model, {"same": drawn(20, 0, (-2.0, 0.0, 0.0))}, others, 1, "features", runs=199)
    assert (first.outcomes, second.outcomes) == (("raises",), ("lowers",))


def test_a_concept_that_was_found_is_a_target() -> None:
    model = network()
    found = tp.tcav(model, drawn(9, 0, (1.0, 0.0, 0.0)), drawn(9, 1), 2, "features", runs=99)
    images = drawn(3, 2)
    expected = features_of(model, images) @ found.vectors[0].numpy()
    assert tp.as_score(model, images, found[0])(images).detach().numpy() == pytest.approx(expected, abs=1e-12)


def test_folders_give_the_same_numbers_as_their_pictures(tmp_path: Path) -> None:
    model, sets = tp.load("simple_cnn", weights=None), {}
    for name, ground in (("brick", "brick"), ("others", "sand")):
        tp.planted("shapes", n=5, size=32, backgrounds=(ground,)).without_objects().write(tmp_path / name)
        sets[name] = [str(file) for file in sorted((tmp_path / name / "pictures").rglob("*.png"))]
    a, b = (
        tp.tcav(model, {"brick": concept}, others, 1, runs=99)
        for concept, others in (
            (tmp_path / "brick" / "pictures", tmp_path / "others" / "pictures"),
            (model.preprocess(sets["brick"]), model.preprocess(sets["others"])),
        )
    )
    assert str(a) == str(b)
    assert "were given" in a.notes[0]


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_tested_is_refused_or_said() -> None:
    model, many = network(), drawn(6, 0)
    with pytest.raises(MethodError, match="2 pictures of concept are too few to compare"):
        tp.tcav(model, drawn(2, 0), many, 1, "features")
    with pytest.raises(MethodError, match="no concepts were given"):
        tp.tcav(model, {}, many, 1, "features")
    with pytest.raises(MethodError, match="the same mean"):
        tp.tcav(model, many, many, 1, "features")
    with pytest.raises(LayerError, match="no layer 'feature'"):
        tp.tcav(model, drawn(6, 1), many, 1, "feature")
    with pytest.raises(MethodError, match="3 targets were given for 6 images"):
        tp.tcav(model, drawn(6, 1), many, [1, 1, 1], "features")
    with pytest.raises(TargetError):
        tp.tcav(model, drawn(6, 1), many, 99, "features")
    with pytest.raises(TapetumError, match="vector is one of mean, lda"):
        tp.tcav(model, drawn(6, 1), many, 1, "features", vector="svm")  # pyright: ignore[reportArgumentType]
    assert any(
        "cannot give a p-value below 0.1:" in note for note in tp.tcav(model, drawn(3, 1), drawn(3, 2), 1, "features").notes
    )


@pytest.mark.slow
def test_backgrounds_that_were_planted_as_a_shortcut_are_found_in_a_trained_network() -> None:
    shapes, grounds = ("disc", "star", "cross"), ("grass", "brick", "water")
    others = ("sand", "wood", "clouds", "pebbles")
    data = tp.planted(
        "shapes", n=600, size=32, classes=shapes, shortcut="background", rate=0.9, backgrounds=(*grounds, *others)
    )
    model = tp.train(data, epochs=6).model

    def empty(kinds: tuple[str, ...], seed: int) -> tp.Planted:
        return tp.planted("shapes", n=20, size=32, classes=shapes, backgrounds=kinds, seed=seed).without_objects()

    asked = tp.planted("shapes", n=30, size=32, classes=shapes, backgrounds=others, seed=7)
    right = absent = 0
    for run in range(100):
        concepts = {"brick": empty(("brick",), 3 * run), "nothing": empty(others, 3 * run + 1)}
        found = tp.tcav(model, concepts, empty(others, 3 * run + 2), "star", "features.2", images=asked, runs=499, seed=run)
        right += found.outcomes[0] == "raises"
        absent += float(found.p[1]) > 0.05
    assert right >= 95
    assert absent >= 95
