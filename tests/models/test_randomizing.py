"""Random weights part by part: what is replaced, what stays, and that numbers keep their size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo import NETS, SIDE, pictures, shared, vision_model

import tapetum as tp
from tapetum.models.randomizing import Randomized, owners, stretches
from tapetum.types import ModelError


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("n", [1, 3, 100])
def test_stretches_hold_every_weight_once_from_the_output_to_the_input(name: str, n: int) -> None:
    model = shared(name)
    found = stretches(model, n)
    held = [owner for one in reversed(found) for owner in one.owners]
    assert 1 <= len(found) <= n
    assert held == owners(model)
    assert len(set(held)) == len(held)
    weights = {key.rpartition(".")[0] for key, _ in model.module.named_parameters()}
    assert weights <= set(held)


def test_the_first_stretch_is_the_last_layer_and_a_norm_goes_with_its_convolution() -> None:
    found = stretches(shared("in_place"), 9)
    assert [one.name for one in found] == ["head.linear", "features.4", "features.0"]
    assert [one.owners for one in found] == [("head.linear",), ("features.4", "features.5"), ("features.0", "features.1")]
    assert [one.name for one in stretches(shared("residual"), 9)] == ["head.linear", "second", "down", "first", "stem"]
    tokens = stretches(shared("vit_token"), 9)
    assert [one.name for one in tokens] == ["linear", "blocks.1", "blocks.0", "patches", "token, positions"]


def test_a_network_without_weights_is_refused() -> None:
    model = tp.wrap(nn.Sequential(nn.AvgPool2d(4), nn.Flatten()), size=SIDE)
    with pytest.raises(ModelError, match="holds no weights"):
        stretches(model, 2)


@pytest.mark.parametrize("name", ["in_place", "residual", "channels_last", "vit_token", "branches"])
def test_chosen_stretches_are_random_all_others_are_the_users_and_come_back(name: str) -> None:
    model, images = vision_model(name), pictures(3)
    before = {key: one.clone() for key, one in model.module.state_dict().items()}
    answer = model(images)
    layers, fresh = stretches(model, 4), tp.untrained(model, seed=3).module.state_dict()
    copy = Randomized(model)
    for chosen in (layers[:2], layers[1:2], layers):
        copy.randomize(chosen, 3)
        made = copy.fit(images).module.state_dict()
        inside = {owner for one in chosen for owner in one.owners}
        for key, value in made.items():
            owner, _, held = key.rpartition(".")
            if not held.startswith(("running", "num_")):
                assert torch.equal(value, (fresh if owner in inside else before)[key]), key
    copy.randomize((), 3)
    back = copy.fit(images)
    assert all(torch.equal(one, before[key]) for key, one in back.module.state_dict().items())
    assert all(torch.equal(one, before[key]) for key, one in model.module.state_dict().items())
    assert str(back(images)) == str(answer)


def test_the_passes_see_the_new_weights_and_the_seed_decides() -> None:
    model, images = vision_model("residual"), pictures(2)
    copy, layers = Randomized(model), stretches(model, 3)
    own = model(images)

    def answer(seed: int) -> Tensor:
        copy.randomize(layers, seed)
        return copy.fit(images)(images).clone()

    one, again, other = map(answer, (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.allclose(one, own)
    torch.testing.assert_close(one, tp.untrained(model, seed=1)(images), rtol=0, atol=0)


def deep() -> nn.Module:
    """Thirty convolutions with batch-norms whose statistics are those of its own images, as after training."""
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for i in range(30):
        parts += [nn.Conv2d(8 if i else 3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    module = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).double()
    module.train()
    for _ in range(60):
        module(torch.randn(8, 3, SIDE, SIDE, dtype=torch.float64))
    return module.eval()


@pytest.mark.parametrize("alone", [True, False])
def test_batch_norms_behind_random_layers_fit_again_so_that_numbers_keep_their_size(alone: bool) -> None:
    model, images = tp.wrap(deep(), size=SIDE), pictures(4)
    layers = stretches(model, 6)
    copy = Randomized(model)
    copy.randomize(layers[3:4] if alone else layers, 0)
    network = copy.fit(images)
    names = [name for name, part in model.module.named_modules() if isinstance(part, nn.BatchNorm2d)]
    first = 0 if not alone else names.index(next(name for name in names if name in layers[3].owners))
    with tp.capture(network, names) as seen:
        network(images)
    for name in names[first:]:
        held = network.module.state_dict()
        scale, shift = (held[f"{name}.{key}"].view(1, -1, 1, 1) for key in ("weight", "bias"))
        scaled = (seen[name] - shift) / scale
        variance, mean = torch.var_mean(scaled, (0, 2, 3), correction=0)
        assert mean.abs().max() < 1e-9
        assert variance.max() <= 1 + 1e-9  # eps of the norm makes it a little smaller
        assert variance.median() > 0.9
    kept, own = network.module.state_dict(), model.module.state_dict()
    assert all(torch.equal(kept[f"{name}.running_var"], own[f"{name}.running_var"]) for name in names[:first])
