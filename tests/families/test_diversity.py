"""Diverse pictures: they differ more, the unit still answers, and scores are the unit's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from zoo import shared

import tapetum as tp
from tapetum.engines.probe import activations

OPTIONS = {"size": 16, "n_steps": 40, "diversity": 3}


def likeness(maps: Tensor) -> Tensor:
    """The cosine of the Gram matrices of all pairs of n maps, its mean over the others."""
    flat = maps.flatten(2)
    cosines = torch.nn.functional.normalize((flat @ flat.transpose(1, 2)).flatten(1), dim=1)
    return ((cosines @ cosines.T).sum(1) - 1) / (len(maps) - 1)


@pytest.mark.weights
@pytest.mark.parametrize("negative", [False, True])
def test_diversity_lowers_the_likeness_and_leaves_the_unit_most_of_its_value(negative: bool) -> None:
    model, options = (
        tp.load("efficientnet_lite0"),
        OPTIONS | {"size": 48, "n_steps": 24, "preset": "standard", "negative": negative},
    )
    free, diverse = (tp.visualize(model, "blocks.2.1:5", diversity_weight=weight, **options) for weight in (0, 1))
    assert diverse.numbers["likeness"].max() < 0.7 * free.numbers["likeness"].min()
    assert diverse.scores.min() > 0.6 * free.scores.mean()


def test_scores_are_the_units_and_likeness_is_the_cosine_of_grams() -> None:
    model = shared("residual")
    made = tp.visualize(model, ["first:1", "first:2"], **OPTIONS | {"n_steps": 3})
    acts = activations(model, made.pixels, "first")
    assert made.layout == (2, 3)
    assert torch.allclose(made.scores, torch.cat([acts[:3, 1], acts[3:, 2]]).mean((1, 2)))
    assert torch.allclose(made.numbers["likeness"], torch.cat([likeness(acts[:3]), likeness(acts[3:])]))


def test_groups_do_not_know_of_each_other() -> None:
    model = shared("residual")
    options = OPTIONS | {"n_steps": 4}
    both = tp.visualize(model, ["first:1", "first:2"], **options)
    alone = [tp.visualize(model, unit, **options) for unit in ("first:1", "first:2")]
    assert torch.equal(both.pixels, torch.cat([one.pixels for one in alone]))


def test_pictures_of_a_class_differ_at_a_layer_that_is_chosen_or_named() -> None:
    model = shared("in_place")
    chosen, named = (
        tp.visualize(model, 1, diversity_layer=layer, **OPTIONS | {"n_steps": 3}) for layer in (None, "features.0")
    )
    assert not torch.equal(chosen.pixels, named.pixels)
