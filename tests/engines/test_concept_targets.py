"""A concept, a direction in a layer's channels, is a target wherever a unit is: its score, gradients, pictures, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from zoo import pictures, shared

import tapetum as tp
from tapetum.engines.scores import as_score
from tapetum.types import LayerError, TargetError

V = torch.tensor([3.0, -1, 0, 0.5, 0, 0, 2, -4], dtype=torch.float64)
EXACT = {"rtol": 1e-12, "atol": 1e-14}  # the same few float64 operations in another order


def maps() -> torch.Tensor:
    model = shared("residual")
    with torch.no_grad(), tp.capture(model, "down") as acts:
        model(pictures(2))
    return acts["down"]


def test_the_score_is_the_mean_dot_product_with_the_direction_of_length_one() -> None:
    along = torch.einsum("nchw,c->nhw", maps(), V / V.norm())
    model, images = shared("residual"), pictures(2)
    torch.testing.assert_close(as_score(model, images, tp.Concept("down", V))(images), along.mean((1, 2)), **EXACT)
    at = tp.Concept("down", 7 * V, position=(2, 4))  # the length of the direction does not matter
    torch.testing.assert_close(as_score(model, images, at)(images), along[:, 2, 4], **EXACT)


def test_a_direction_along_one_channel_is_that_unit() -> None:
    model, images = shared("residual"), pictures(2)
    one = tp.Concept("down", torch.eye(8)[3])
    torch.testing.assert_close(tp.saliency(model, images, one).values, tp.saliency(model, images, tp.Unit("down", 3)).values)
    made = [tp.visualize(model, what, size=16, n_steps=3).pixels for what in (one, tp.Unit("down", 3))]
    torch.testing.assert_close(*made, rtol=1e-6, atol=1e-6)


def test_an_earlier_layer_explains_a_concept_and_a_mix_with_units_is_one_call() -> None:
    model, images = shared("residual"), pictures(2)
    targets = [tp.Concept("down", V, "a slope"), tp.Unit("down", 1)]
    result = tp.grad_cam(model, images, targets, layer="first")
    assert result.target == ("a slope", "down:1")
    assert result.status == ("ok", "ok")


def test_the_score_of_a_picture_made_for_a_concept_is_the_target_s() -> None:
    model, concept = shared("residual"), tp.Concept("down", V)
    made = tp.visualize(model, concept, size=16, n_steps=3)
    images = model.preprocessing.normalize(made.pixels.to(model.dtype))
    torch.testing.assert_close(as_score(model, images, concept)(images), made.scores.double(), rtol=1e-5, atol=1e-6)
    assert made.objectives == ("direction in down",)


def test_a_concept_says_its_name_or_where_it_is() -> None:
    assert str(tp.Concept("down", V)) == "direction in down"
    assert str(tp.Concept("down", V, "stripes")) == "stripes"
    assert str(tp.Concept("down", V, position=(1, 2))) == "direction in down@1,2"


@pytest.mark.parametrize("given", [torch.tensor([1, 2, 3]), 1e-200 * torch.tensor([1, 2, 3.0]).double()])
def test_whole_and_tiny_numbers_are_directions(given: torch.Tensor) -> None:
    expected = torch.tensor([1, 2, 3], dtype=torch.float64) / 14**0.5
    torch.testing.assert_close(tp.Concept("down", given).unit_vector, expected, rtol=1e-12, atol=0)


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "zeros": (lambda: tp.Concept("down", torch.zeros(8)), TargetError, "not all zero"),
    "nan": (lambda: tp.Concept("down", torch.full((8,), torch.nan)), TargetError, "finite"),
    "matrix": (
        lambda: tp.Concept("down", torch.ones(2, 4)),
        TargetError,
        r"a tensor \(c,\) of one number a channel, not \(2, 4\)",
    ),
    "channels": (lambda: tp.Concept("down", torch.ones(3)), TargetError, "has 3 numbers, down has 8 channels"),
    "layer": (lambda: tp.Concept("dwn", V), LayerError, "no layer 'dwn' in residual; close names: down"),
    "glob": (lambda: tp.Concept("*", V), LayerError, "a concept has one"),
    "place": (lambda: tp.Concept("down", V, position=(99, 0)), TargetError, "the map of down has"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_concept_that_fits_nothing_is_refused_in_one_line(name: str) -> None:
    make, kind, pattern = WRONG[name]
    with pytest.raises(kind, match=pattern) as caught:
        tp.saliency(shared("residual"), pictures(1), make())
    assert "\n" not in str(caught.value)
