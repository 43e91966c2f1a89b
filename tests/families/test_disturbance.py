"""What an attack changes inside: numbers with a closed form, a control of exactly the same size; repairs that are minimal."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from snapshots import assert_no_hooks, assert_same, snapshot
from torch import Tensor, nn
from zoo import SIDE, net, pictures, vision_model, wrapped

import tapetum as tp
from tapetum.families.attacks.disturbance import with_random_signs
from tapetum.models.vision_model import VisionModel
from tapetum.types import LayerError, MethodError, TapetumError, TargetError


def photos(n: int = 2) -> Tensor:
    return (0.5 + 0.2 * pictures(n)).clamp(0, 1)


def sharp(name: str) -> VisionModel:
    module = net(name)
    with torch.no_grad():
        [part for part in module.modules() if isinstance(part, nn.Linear)][-1].weight.mul_(40)
    return wrapped(module, name)


# --- the control


def test_the_noise_has_the_size_of_the_attack_in_every_norm_at_every_place() -> None:
    clean = photos(3)
    clean[0] = (clean[0] > 0.5).double()  # black and white, where only one sign stays in the picture
    there = tp.pgd(sharp("residual"), clean, eps=0.1, n_steps=3).pixels
    one, again, other = (with_random_signs(clean, there, seed) for seed in (0, 0, 1))
    torch.testing.assert_close((one - clean).abs(), (there - clean).abs(), rtol=0, atol=1e-15)
    assert float(one.min()) >= 0
    assert float(one.max()) <= 1
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    same = (one[1] - clean[1]).sign() == (there[1] - clean[1]).sign()
    assert 0.4 < float(same.double().mean()) < 0.7  # half by chance, and those at the ends of the range


# --- numbers


def test_the_change_of_a_linear_layer_is_that_of_the_weights_times_the_change() -> None:
    """|W (x' - x)| / |W x + b|, and per channel; the squares of the units add up to that of the layer."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).double()
    model, images = wrapped(module), photos()
    attack = tp.fgsm(model, images, eps=0.05)
    found = tp.disturbance(model, images, attack, layers="0", draws=3)
    before, after = (module[0](one).detach() for one in (images, attack.pixels))
    size = before.flatten(1).norm(dim=1)
    torch.testing.assert_close(found.change[:, 0], (after - before).flatten(1).norm(dim=1) / size)
    torch.testing.assert_close(found.units["0"], (after - before).flatten(2).norm(dim=2) / size[:, None])
    torch.testing.assert_close(found.units["0"].square().sum(1), found.change[:, 0].square())
    torch.testing.assert_close(found.units_noise["0"].square().sum(2), found.noise[:, :, 0].square())
    torch.testing.assert_close(found.switched[:, 0], ((before > 0) != (after > 0)).flatten(1).double().mean(1))
    for i in range(3):
        noisy = module[0](with_random_signs(images, attack.pixels, i)).detach()
        torch.testing.assert_close(found.noise[:, i, 0], (noisy - before).flatten(1).norm(dim=1) / size)


def test_without_an_attack_nothing_changes() -> None:
    model, images = sharp("residual"), photos()
    found = tp.disturbance(model, images, images)
    for numbers in (found.change, found.noise, found.switched, found.switched_noise):
        assert not numbers.any()
    assert torch.allclose(found.kept["saliency"], torch.ones(2, dtype=torch.float64))
    assert not found.beyond.any()
    assert all(len(set(one)) == 1 for one in found.answers)


def test_frames_go_straight_from_clean_to_attacked_and_carry_the_networks_answers() -> None:
    model, images = sharp("functional"), photos()
    attack = tp.pgd(model, images, eps="8/255", n_steps=3)
    found = tp.disturbance(model, images, attack, frames=3, draws=1)
    torch.testing.assert_close(found.frames[:, 0], attack.clean)
    torch.testing.assert_close(found.frames[:, 1], (attack.clean + attack.pixels) / 2)
    torch.testing.assert_close(found.frames[:, 2], attack.pixels)
    assert [one[0] for one in found.answers] == list(attack.before)
    assert [one[-1] for one in found.answers] == list(attack.labels)
    torch.testing.assert_close(found.confidence[:, [0, 2]], attack.confidence)
    for frame in range(3):
        own = tp.saliency(model, found.frames[:, frame]).heatmap(None)
        torch.testing.assert_close(found.maps["saliency"][:, frame], own)


def test_an_attack_and_its_images_are_the_same_and_two_images_are_two_single_ones() -> None:
    model, images = sharp("channels_last"), photos()
    attack = tp.pgd(model, images, eps="8/255", n_steps=3)
    both = tp.disturbance(model, images, attack, draws=2)
    torch.testing.assert_close(tp.disturbance(model, images, attack.images, draws=2).change, both.change)
    for row in range(2):
        alone = tp.disturbance(model, images[row : row + 1], attack[row], draws=2)
        torch.testing.assert_close(alone.change, both.change[row : row + 1])
        torch.testing.assert_close(alone.noise, both.noise[row : row + 1])


@pytest.mark.parametrize("about", [tp.disturbance, tp.shortest_repair])
def test_the_users_model_stays_as_it_was(about: Any) -> None:
    for name in ("in_place", "residual", "vit_token", "as_dict"):
        model = vision_model(name)
        before = snapshot(model.module)
        about(model, photos(), tp.fgsm(model, photos(), eps=0.2), draws=2)
        assert_same(before, snapshot(model.module))
        assert_no_hooks(model.replica)


@pytest.mark.parametrize(
    ("given", "about", "kind", "words"),
    [
        (lambda attack: attack[0], {}, MethodError, "began with other images"),
        (lambda attack: attack[::-1], {}, MethodError, "began with other images"),
        (lambda attack: attack.images[:1], {}, MethodError, "1 attacked images of"),
        (lambda attack: attack, {"draws": 0}, MethodError, "draws must be a whole number from 1"),
        (lambda attack: attack, {"draws": 1.5}, MethodError, "draws must be a whole number from 1"),
        (lambda attack: attack, {"layers": "absent"}, LayerError, "absent"),
    ],
)
@pytest.mark.parametrize("method", [tp.disturbance, tp.shortest_repair])
@pytest.mark.usefixtures("unchecked")
def test_other_images_and_wrong_settings_are_refused(method: Any, given: Any, about: Any, kind: Any, words: str) -> None:
    model, images = sharp("residual"), photos()
    with pytest.raises(kind, match=words) as refusal:
        method(model, images, given(tp.fgsm(model, images)), **about)
    assert "\n" not in str(refusal.value)


def test_networks_without_classes_are_refused() -> None:
    model = wrapped(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 2)).double(), outputs="numbers")
    for method in (tp.disturbance, tp.shortest_repair):
        with pytest.raises(TargetError, match="numbers, no probabilities"):
            method(model, photos(), photos())


# --- repair


class Sum(nn.Module):
    """Class 1 against class 0 is the sum of six channels, each the mean of one third of a colour."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 6, 1, bias=False)
        nn.init.zeros_(self.maps.weight)
        with torch.no_grad():
            for i in range(6):
                self.maps.weight[i, i % 3] = (1, 1, 1, 0.1, 0.1, 0.1)[i]

    def forward(self, images: Tensor) -> Tensor:
        total = self.maps(images).mean((2, 3)).sum(1) - 1.7
        return torch.stack([-total, total], 1) * 50


def case(changes: tuple[float, float, float]) -> tuple[VisionModel, Tensor, Tensor]:
    """The network, a grey picture, and one whose three colours are darker by these amounts."""
    grey = torch.full((1, 3, SIDE, SIDE), 0.55, dtype=torch.float64)
    return wrapped(Sum().double(), "sum"), grey, grey - torch.tensor(changes, dtype=torch.float64).view(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("changes", "fewest"),
    [((0.3, 0, 0), {(0,)}), ((0.3, 0.06, 0), {(0,)}), ((0.2, 0.2, 0), {(0, 1)}), ((0.2, 0.19, 0.18), {(0, 1, 2)})],
)
def test_the_repair_is_the_set_that_a_search_of_all_sets_finds(changes: Any, fewest: set[tuple[int, ...]]) -> None:
    """The clean margin is 100 * (1.1 * 1.65 - 1.7) = 11.5: a colour may lose 0.115 / 1.1 and the answer stays."""
    model, clean, dark = case(changes)
    found = tp.shortest_repair(model, clean, dark, layers="maps", draws=500)
    assert found.answers != found.attacked
    before, after = (model.module.maps(one) for one in (clean, dark))

    def repairs(some: tuple[int, ...]) -> bool:
        chosen = torch.zeros(6, dtype=torch.bool)
        chosen[list(some)] = True
        maps = torch.where(chosen[None, :, None, None], before, after)
        return bool(maps.mean((2, 3)).sum() > 1.7)

    sizes = {k: [some for some in itertools.combinations(range(6), k) if repairs(some)] for k in range(1, 7)}
    least = min(k for k, sets in sizes.items() if sets)
    assert {tuple(sorted(found.units[0][0]))} == fewest
    assert int(found.counts[0, 0]) == least == len(found.units[0][0])
    share = len(sizes[least]) / len(list(itertools.combinations(range(6), least)))
    assert abs(float(found.random[0, 0]) - share) < 5 * (share * (1 - share) / 500) ** 0.5 + 1e-9
    assert found.shortest == (("maps", found.units[0][0]),)


@pytest.mark.parametrize("name", ["residual", "functional", "channels_last", "vit_mean", "branches"])
def test_a_repair_restores_the_answer_and_no_unit_of_it_is_dispensable(name: str) -> None:
    """Patched by `tp.edit`, which knows nothing of the search."""
    model, images = sharp(name), photos(3)
    last = [part for part in model.module.modules() if isinstance(part, nn.Linear)][-1]
    with torch.no_grad():  # answers near a border
        last.bias.sub_(model.module.eval()(images).mean(0))
    attack = tp.pgd(model, images, eps=0.1, n_steps=4)
    assert attack.success.any()
    found = tp.shortest_repair(model, images, attack, draws=3)
    repaired = 0
    for row, (before, after) in enumerate(zip(attack.before, attack.labels, strict=True)):
        for i, layer in enumerate(found.layers):
            units = list(found.units[row][i])
            if before == after:
                assert found.counts[row, i] == 0
                continue
            if not units:
                assert found.counts[row, i] == -1
                assert answer(model, images, attack, row, layer, list(range(found.channels[i]))) != before
                continue
            repaired += 1
            assert answer(model, images, attack, row, layer, units) == before
            for gone in units:
                assert answer(model, images, attack, row, layer, [one for one in units if one != gone]) != before
    assert repaired


def answer(model: VisionModel, images: Tensor, attack: tp.Attack, row: int, layer: str, units: list[int]) -> str:
    """The answer to an attacked picture with some channels of a layer as on the clean one."""
    with tp.capture(model, [layer]) as acts:
        model(images[row : row + 1])
    clean = acts[layer]

    def patch(maps: Tensor) -> Tensor:
        changed = maps.clone()
        changed[:, units] = clean[:, units]
        return changed

    with tp.edit(model, {layer: patch}):
        output = model(attack.images[row : row + 1])
    table = output["logits"] if isinstance(output, dict) else output
    return f"class {int(table.argmax())}"


def test_where_nothing_flipped_there_is_nothing_to_repair() -> None:
    model, images = sharp("residual"), photos()
    found = tp.shortest_repair(model, images, images)
    assert not found.counts.any()
    assert found.shortest == (None, None)
    assert "nothing to repair" in " ".join(found.notes)
    assert tp.draw(found).get_axes()


def test_a_layer_that_carries_a_part_of_the_change_alone_says_that_it_cannot_repair() -> None:
    class Past(nn.Module):
        """The answer goes past the layer."""

        def __init__(self) -> None:
            super().__init__()
            self.inside, self.linear = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(3 * SIDE * SIDE, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.linear(images.flatten(1)) + 1e-3 * self.inside(images).mean((2, 3))[:, :2]

    model = wrapped(Past().double())
    found = tp.shortest_repair(model, photos(), tp.fgsm(model, photos(), eps=0.2), layers="inside")
    assert (found.counts == -1).all()
    assert found.random.isnan().all()
    assert "0 of 2" in str(found)
    with pytest.raises(TapetumError):
        tp.shortest_repair(model, photos(), photos(), layers="linear")
