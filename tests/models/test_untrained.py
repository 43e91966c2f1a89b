"""`untrained`: the same architecture, new weights, and the user's model as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d
from zoo import NETS, SIDE, pictures, vision_model

import tapetum as tp


@pytest.mark.parametrize("name", NETS)
def test_weights_are_new_seeded_and_the_users_are_as_they_were(name: Any) -> None:
    model = vision_model(name)
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    state = torch.get_rng_state()
    made, again, other = (tp.untrained(model, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())
    weights, same, others = (one.module.state_dict() for one in (made, again, other))
    assert {key: (w.shape, w.dtype) for key, w in weights.items()} == {key: (w.shape, w.dtype) for key, w in before.items()}
    assert all(torch.equal(weights[key], same[key]) for key in weights)
    convolved = [key for key, w in before.items() if w.ndim > 1]
    assert all(not torch.equal(weights[key], before[key]) and not torch.equal(weights[key], others[key]) for key in convolved)
    assert not any(w.isnan().any() for w in weights.values())
    assert not any(mine.data_ptr() == theirs.data_ptr() for mine in weights.values() for theirs in before.values())
    assert made.weights == "random"
    assert made(pictures()) is not None


def test_batch_norms_have_seen_nothing() -> None:
    made = tp.untrained(vision_model("in_place")).module
    norms = [part for part in made.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(norms) == 2
    for norm in norms:
        assert not norm.running_mean.any()
        assert bool((norm.running_var == 1).all())
        assert int(norm.num_batches_tracked) == 0


def test_a_frozen_batch_norm_does_nothing_afterwards() -> None:
    frozen = FrozenBatchNorm2d(4)
    frozen.running_var.fill_(9)
    frozen.weight.fill_(5)
    made = tp.untrained(tp.wrap(nn.Sequential(nn.Conv2d(3, 4, 1), frozen), size=SIDE)).module
    x = torch.randn(1, 4, 2, 2)
    assert torch.allclose(made[1](x), x, atol=1e-4)  # its epsilon is 1e-5


def test_what_no_module_draws_is_shuffled_and_named() -> None:
    model = vision_model("vit_token")
    made = tp.untrained(model)
    assert "2 of the parameters (token, positions)" in made.notes[0]
    old, new = model.module.positions, made.module.positions
    assert not torch.equal(old, new)
    assert torch.equal(old.flatten().sort().values, new.flatten().sort().values)


def test_hidden_weights_behind_a_parametrization_are_not_missed() -> None:
    layer = torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    made = tp.untrained(tp.wrap(nn.Sequential(layer), size=SIDE))
    assert "parametrizations.weight.original1" in made.notes[0]
    assert not torch.equal(made.module[0].weight, layer.weight)


def test_an_untrained_network_trains() -> None:
    made = tp.untrained(vision_model("residual")).module
    made(pictures()).sum().backward()
    assert all(weight.grad is not None for weight in made.parameters())
