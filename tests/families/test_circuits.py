"""Circuits of networks whose circuits are known, and what is said of them."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from zoo import pictures, shared

import tapetum as tp
from tapetum.families.circuits.planted_by_hand import MAKERS
from tapetum.types import Circuit, CircuitTruth, LayerError, MethodError

KINDS = tuple(MAKERS)


def _found(kind: str, seed: int = 0, **how: object) -> tuple[Circuit, CircuitTruth]:
    model, truth = tp.planted_circuit(kind, seed)
    return tp.circuit(model, 0, truth.images[:6], edges=len(truth.edges), test=False, **how), truth


@pytest.mark.parametrize("measure", ["patching", "gradient"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_strongest_edges_are_the_planted_ones_with_their_signs(kind: str, seed: int, measure: str) -> None:
    found, truth = _found(kind, seed, measure=measure)
    assert truth.compare(found) == (1.0, 1.0)
    told = None if kind == "two_heads" else True  # it has two heads and an MLP per block: too few to compare with
    assert [edge.confirmed for edge in found.edges] == [told] * len(truth.edges)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "residual"])
@pytest.mark.parametrize("measure", ["gradient", "weights"])
def test_an_edge_is_patched_alike_whatever_it_is_weighted_by(kind: str, measure: str) -> None:
    """Weights are read without images, but what taking a node away does to the score and to others is the same number."""
    edges = [
        sorted((one.patched, one.interval, one.chance) for one in _found(kind, measure=by)[0].edges)
        for by in ("patching", measure)
    ]
    assert np.allclose(*[np.array([(a, *b, c) for a, b, c in some]) for some in edges], rtol=1e-9, atol=1e-12, equal_nan=True)


def test_edges_of_small_layers_are_not_said_to_be_confirmed() -> None:
    """Among two others a random edge would be the largest once in three: nothing is said of it."""
    found, _ = _found("two_heads")
    assert all(np.isnan(edge.chance) for edge in found.edges)
    assert np.isnan(found.confirmed)
    assert found.confirmed_text.startswith("of no edge it can be told whether it is confirmed: fewer than 19 other nodes")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "residual"])
def test_weights_alone_find_circuits_in_which_no_two_units_add_to_the_same_stream(kind: str) -> None:
    found, truth = _found(kind, measure="weights")
    assert truth.compare(found) == (1.0, 1.0)


def test_weights_cannot_tell_two_units_that_write_to_the_same_channel() -> None:
    """In the residual network the second convolution writes to the channel of the first; its weights say nothing of silence."""
    found, truth = _found("residual", measure="weights")
    assert truth.compare(found)[0] < 1


def test_expanded_weights_skip_the_middle_of_a_chain() -> None:
    """Along all paths, the first unit of a chain has an edge to the score itself; by direct effects it has none."""
    skipping, truth = _found("chain", measure="expanded")
    names = list(map(str, skipping.nodes))
    first = truth.edges[0][0]
    assert any(names[edge.source] == first and edge.target == len(names) - 1 for edge in skipping.edges)
    direct, _ = _found("chain")
    names = list(map(str, direct.nodes))
    assert not any(names[edge.source] == first and edge.target == len(names) - 1 for edge in direct.edges)


@pytest.mark.parametrize("ablation", ["mean", "resample"])
@pytest.mark.parametrize("kind", KINDS)
def test_replacing_nodes_by_other_pictures_finds_the_same_edges(kind: str, ablation: str) -> None:
    model, truth = tp.planted_circuit(kind, 1)
    found = tp.circuit(model, 0, truth.images, edges=len(truth.edges), ablation=ablation, reference=truth.reference, test=False)
    assert truth.compare(found) == (1.0, 1.0)


def test_the_weight_of_an_edge_into_a_linear_answer_is_weight_times_activation() -> None:
    """Closed form: the class hears a channel by w x mean over places of relu, and nothing else changes."""
    model, truth = tp.planted_circuit("cross", 2)
    found = tp.circuit(model, 0, truth.images, edges=3, test=False)
    edge = next(one for one in found.edges if one.target == len(found.nodes) - 1)
    unit = found.nodes[edge.source].unit
    assert unit is not None
    with tp.capture(model, [unit.layer]) as acts:
        model(truth.images)
    active = acts[unit.layer][:, unit.channel].clamp(min=0).mean((1, 2))
    weight = model.module.answer.weight[0, unit.channel].detach()
    torch.testing.assert_close(edge.weight, float((weight * active).mean()), rtol=1e-9, atol=0)
    torch.testing.assert_close(edge.patched, edge.weight, rtol=1e-9, atol=0)


def test_a_unit_has_a_circuit_of_its_own() -> None:
    model, truth = tp.planted_circuit("cross")
    unit = truth.edges[2][0]
    found = tp.circuit(model, unit, truth.images, edges=2, test=False)
    names = list(map(str, found.nodes))
    assert {(names[one.source], one.weight > 0) for one in found.edges} == {(source, True) for source, _, _ in truth.edges[:2]}
    assert found.target == unit


def test_the_whole_circuit_keeps_the_score_and_random_edges_do_not() -> None:
    model, truth = tp.planted_circuit("depthwise", 3)
    found = tp.circuit(model, 0, truth.images, edges=len(truth.edges))
    assert found.faithfulness is not None
    for kept in found.faithfulness.kept.values():
        assert float(kept[-1]) == pytest.approx(1, abs=0.1)
    assert float(found.faithfulness.random[:, -1].max()) < 0.1
    assert found.faithfulness.edges[-1] == len(found.edges)


def test_a_circuit_of_all_edges_is_the_network() -> None:
    """With every node and edge kept, nothing is replaced: the score is that of the network, for any ablation."""
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = tp.wrap(nn.Sequential(network, nn.Linear(2, 2)).double(), size=16, name="small")
    found = tp.circuit(model, 0, pictures(4), edges=100, measure="gradient")
    assert found.faithfulness is not None
    for kept in found.faithfulness.kept.values():
        assert float(kept[-1]) == pytest.approx(1, abs=1e-9)
    by_name = {one.name: one for one in found.tests}
    assert by_name["equivalence"].passed
    assert "the same on 4" in by_name["equivalence"].words


def test_leaving_out_an_edge_of_the_circuit_fails_equivalence() -> None:
    model, truth = tp.planted_circuit("inhibited", 1)
    whole = tp.circuit(model, 0, truth.images, edges=3)
    part = tp.circuit(model, 0, truth.images, edges=2)  # without the inhibition, the score is too high
    kept = [found.faithfulness.kept["zero"][-1] for found in (whole, part) if found.faithfulness is not None]
    assert abs(float(kept[0]) - 1) < abs(float(kept[1]) - 1)
    test = next(one for one in part.tests if one.name == "equivalence")
    assert not test.passed
    assert test.p_value == pytest.approx(2 / 2**12)  # all 12 pictures on one side


def test_an_edge_too_many_fails_minimality() -> None:
    model, truth = tp.planted_circuit("cross", 4)
    right = tp.circuit(model, 0, truth.images, edges=3)
    many = tp.circuit(model, 0, truth.images, edges=12)
    assert next(one for one in right.tests if one.name == "minimality").passed
    assert not next(one for one in many.tests if one.name == "minimality").passed


def test_stability_is_the_share_of_draws_and_unknown_for_one_image() -> None:
    found, _ = _found("cross")
    assert all(edge.stability == 1 for edge in found.edges)
    model, truth = tp.planted_circuit("cross")
    alone = tp.circuit(model, 0, truth.images[:1], edges=3, test=False)
    assert all(math.isnan(edge.stability) for edge in alone.edges)


def test_the_same_call_gives_the_same_circuit_and_leaves_the_network_as_it_was() -> None:
    model, truth = tp.planted_circuit("two_heads")
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    first, second = (tp.circuit(model, 0, truth.images, edges=3) for _ in range(2))
    assert str(first) == str(second)
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert not any(parameter.grad is not None for parameter in model.module.parameters())


@pytest.mark.parametrize("name", ["functional", "residual", "vit_token", "channels_last", "branches"])
def test_any_network_has_a_circuit(name: str) -> None:
    found = tp.circuit(shared(name), 1, pictures(3), edges=6, fan_in=3)
    assert 1 <= len(found.edges) <= 6
    assert len(found.tests) == 3
    assert all(edge.source < edge.target for edge in found.edges)
    assert found.confirmed_text in str(found)


def test_tests_that_cannot_fail_do_not_hold() -> None:
    model, truth = tp.planted_circuit("cross", 1)
    found = tp.circuit(model, 0, truth.images[:2], edges=2)
    by_name = {one.name: one for one in found.tests}
    assert by_name["equivalence"].passed is None
    assert by_name["independence"].passed is None
    assert "equivalence: cannot be told" in str(found)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "layers"), [("trained", ["two", "three"]), ("trained_heads", None)])
def test_a_circuit_that_was_planted_by_training_is_found(kind: str, layers: list[str] | None) -> None:
    """Other units have the values of other pictures in training, so away from their mean they tell the class nothing."""
    model, truth = tp.planted_circuit(kind, 1)
    how = {"layers": layers, "ablation": "mean", "reference": truth.reference, "test": False}
    assert truth.compare(tp.circuit(model, 0, truth.images, edges=3, **how)) == (1.0, 1.0)


@pytest.mark.usefixtures("unchecked")
def test_refusals_say_what_works() -> None:
    model, images = shared("residual"), pictures(2)
    with pytest.raises(MethodError, match="give some, reference="):
        tp.circuit(model, 0, images, ablation="mean")
    with pytest.raises(MethodError, match="whole number"):
        tp.circuit(model, 0, images, edges=0)
    with pytest.raises(MethodError, match="no planted circuit"):
        tp.planted_circuit("square")
    with pytest.raises(LayerError, match="close names"):
        tp.circuit(model, 0, images, layers="nothing")
