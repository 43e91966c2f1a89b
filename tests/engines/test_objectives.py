"""Objectives: their numbers by loops and closed forms, one picture's value without the others, and pictures that raise them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from zoo import shared, vision_model

import tapetum as tp
from tapetum.engines.render import Recipe, measure, optimize, render
from tapetum.engines.render import objectives as o
from tapetum.engines.render.objectives import Objective, Seen
from tapetum.engines.render.parametrizations import Start, pixel
from tapetum.types import Concept, LayerError, TapetumError, Unit

C, H, W = 6, 5, 7
"""The hand-made activations: not square, and odd."""


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seen_by_hand(n: int = 3, side: tuple[int, int] = (9, 12), seed: int = 0) -> Seen:
    """Noise everywhere: a map and a vector, transparent pixels, five logits."""
    pixels = numbers(n, 4, *side, seed=seed + 3).sigmoid()
    acts = {"map": numbers(n, C, H, W, seed=seed), "vector": numbers(n, C, seed=seed + 1)}
    return Seen(shared("reused"), pixels, pixels[:, :3], acts, output=numbers(n, 5, seed=seed + 2))


GIVEN = numbers(C, H, W, seed=10)
VECTOR = numbers(C, seed=11)
PICTURE = numbers(3, 9, 12, seed=12).sigmoid()

ALONE: dict[str, Callable[[], Objective]] = {
    "channel": lambda: o.channel("map", 2),
    "neuron": lambda: o.neuron("map", 2),
    "neuron at": lambda: o.neuron("map", 2, 1, 6),
    "unit": lambda: o.unit(Unit("map", 2, (4, 0))),
    "channel_weight": lambda: o.channel_weight("map", VECTOR),
    "neuron_weight": lambda: o.neuron_weight("map", VECTOR, 4, 5),
    "local_group": lambda: o.local_group("map", 2, 1, 3, 2, 4),
    "local_group of all": lambda: o.local_group("map", None, 1, 3, 4, 1),
    "local_group of some": lambda: o.local_group("map", VECTOR, 0, 0, 5, 7),
    "deep_dream": lambda: o.deep_dream("map"),
    "direction": lambda: o.direction("map", VECTOR),
    "direction, cosine": lambda: o.direction("map", VECTOR, cosine_power=1.5),
    "direction_neuron": lambda: o.direction_neuron("map", VECTOR, 2, 2, cosine_power=1),
    "cosine_direction": lambda: o.cosine_direction("map", VECTOR),
    "concept": lambda: o.concept(Concept("map", VECTOR)),
    "concept at": lambda: o.concept(Concept("map", VECTOR, position=(4, 1))),
    "tensor_direction": lambda: o.tensor_direction("map", GIVEN[:, 1:3, :4], cosine_power=0.5),
    "class_logit": lambda: o.class_logit(3),
    "class_probability": lambda: o.class_probability(3),
    "class_log_probability": lambda: o.class_log_probability(3),
    "class_contrast": lambda: o.class_contrast(3, 1),
    "target": lambda: o.target(lambda output: output[:, 0] * output[:, 1]),
    "dot_cosine": lambda: o.dot_cosine("map", GIVEN, cosine_power=2),
    "cosine_similarity": lambda: o.cosine_similarity("map", GIVEN),
    "correlation": lambda: o.correlation("map", GIVEN),
    "feature_match": lambda: o.feature_match("map", GIVEN),
    "content_distance": lambda: o.content_distance("map", GIVEN, power=1),
    "style_distance": lambda: o.style_distance("map", GIVEN[:, :3]),
    "input_diff": lambda: o.input_diff(PICTURE),
    "total_variation": lambda: o.total_variation(),
    "total_variation 2": lambda: o.total_variation(beta=2, of="alpha"),
    "l1": lambda: o.l1(),
    "l2": lambda: o.l2(constant=0.2),
    "power_norm": lambda: o.power_norm(),
    "blur_difference": lambda: o.blur_difference(),
    "blur_difference of alpha": lambda: o.blur_difference(of="alpha", sigma_px=2),
    "boundary_complexity": lambda: o.boundary_complexity(width_px=3),
    "alpha_mean": lambda: o.alpha_mean(),
    "arithmetic": lambda: 2 * o.channel("map", 1) * o.l1() - o.total_variation() / 3 + 1,
}
"""Every objective whose value is of one picture."""

GROUPS: dict[str, Callable[[], Objective]] = {
    "diversity": lambda: o.diversity("map"),
    "alignment": lambda: o.alignment("map"),
    "interpolate": lambda: o.interpolate(o.deep_dream("map"), o.l1()),
    "channel_interpolate": lambda: o.channel_interpolate("map", 0, "map", 5),
}

NOT_OBJECTIVES = {"OUTPUT", "Objective", "Seen", "as_objective", "as_objectives", "blurred", "check_needs", "each", "gram"}


def test_the_tables_hold_every_objective() -> None:
    made = {name.partition(" ")[0].rstrip(",") for name in (*ALONE, *GROUPS)}
    assert made - {"arithmetic"} == set(o.__all__) - NOT_OBJECTIVES


@pytest.mark.bits
@pytest.mark.parametrize("name", ALONE)
def test_a_pictures_value_is_the_one_it_has_alone(name: str) -> None:
    objective, seen = ALONE[name](), seen_by_hand(4)
    together = objective(seen)
    assert together.shape == (4,)
    assert torch.equal(together, torch.cat([objective(one) for one in seen.split(1)]))
    assert torch.equal(together, torch.cat([objective(two) for two in seen.split(2)]))
    assert len(set(together.tolist())) == 4  # it did look at the pictures


@pytest.mark.bits
@pytest.mark.parametrize("name", ALONE)
def test_a_pictures_gradient_is_the_one_it_has_alone(name: str) -> None:
    objective = ALONE[name]()
    together, alone = gradients(objective, seen_by_hand(3)), [gradients(objective, one) for one in seen_by_hand(3).split(1)]
    for i, leaf in enumerate(together):
        assert torch.equal(leaf, torch.cat([one[i] for one in alone]))
    assert any(leaf.any() for leaf in together)


def gradients(objective: Objective, seen: Seen) -> list[Tensor]:
    """Of the map, the pixels and the answer."""
    leaves = [one.clone().requires_grad_() for one in (seen["map"], seen.pixels, seen.output)]
    again = Seen(seen.model, leaves[1], seen.images, {"map": leaves[0]}, leaves[2])
    found = torch.autograd.grad(objective(again).sum(), leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if one is None else one for leaf, one in zip(leaves, found, strict=True)]


ANYWHERE: dict[str, Callable[[Tensor], Objective]] = {
    "channel": lambda _: o.channel("map", 2),
    "neuron": lambda _: o.neuron("map", 2),
    "channel_weight": lambda _: o.channel_weight("map", VECTOR),
    "neuron_weight": lambda _: o.neuron_weight("map", VECTOR),
    "local_group": lambda _: o.local_group("map", None, 0, 0),
    "deep_dream": lambda _: o.deep_dream("map"),
    "direction": lambda _: o.direction("map", VECTOR, cosine_power=1),
    "direction_neuron": lambda _: o.direction_neuron("map", VECTOR),
    "cosine_direction": lambda _: o.cosine_direction("map", VECTOR),
    "tensor_direction": lambda given: o.tensor_direction("map", given),
    "dot_cosine": lambda given: o.dot_cosine("map", given),
    "cosine_similarity": lambda given: o.cosine_similarity("map", given),
    "correlation": lambda given: o.correlation("map", given),
    "feature_match": lambda given: o.feature_match("map", given),
    "content_distance": lambda given: o.content_distance("map", given),
    "style_distance": lambda given: o.style_distance("map", given),
    "diversity": lambda _: o.diversity("map"),
    "alignment": lambda _: o.alignment("map"),
}
"""Objectives at a layer, by what may be given."""


@pytest.mark.parametrize("name", ANYWHERE)
def test_a_vector_is_a_map_of_one_place(name: str) -> None:
    seen = seen_by_hand()
    given = numbers(C, seed=13)
    of_vectors = ANYWHERE[name](given)(with_acts(seen, seen["vector"]))
    assert torch.equal(of_vectors, ANYWHERE[name](given[None, :, None, None])(with_acts(seen, seen["vector"][..., None, None])))


def with_acts(seen: Seen, act: Tensor) -> Seen:
    return Seen(seen.model, seen.pixels, seen.images, {"map": act}, seen.output)


# --- numbers


def close(found: Tensor, expected: Any) -> None:
    """float64; loops add in another order."""
    np.testing.assert_allclose(found.numpy(), np.asarray(expected), rtol=1e-12, atol=1e-14)


def test_units_are_read_where_they_say() -> None:
    seen = seen_by_hand()
    act = seen["map"].numpy()
    close(o.channel("map", 2)(seen), act[:, 2].mean((1, 2)))
    close(o.neuron("map", 2)(seen), act[:, 2, 2, 3])
    close(o.neuron("map", 2, 0, 6)(seen), act[:, 2, 0, 6])
    close(o.neuron("vector", 4)(seen), seen["vector"][:, 4])
    close(o.local_group("map", 2, 1, 3, 2, 4)(seen), act[:, 2, 1:3, 3:7].mean((1, 2)))
    close(o.local_group("map", None, 4, 0)(seen), act[:, :, 4, 0].mean(1))
    close(o.neuron_weight("map", VECTOR, 3, 1)(seen), act[:, :, 3, 1] @ VECTOR.numpy())
    weighted = np.einsum("nchw,c->nhw", act, VECTOR.numpy())
    close(o.channel_weight("map", VECTOR.tolist())(seen), weighted.mean((1, 2)))
    close(o.local_group("map", VECTOR, 1, 2, 3, 3)(seen), weighted[:, 1:4, 2:5].mean((1, 2)))
    close(o.deep_dream("map")(seen), (act**2).mean((1, 2, 3)))


@pytest.mark.parametrize("power", [0, 0.5, 1, 2])
def test_a_direction_is_the_mean_of_dot_times_floored_cosine(power: float) -> None:
    seen, v = seen_by_hand(), VECTOR.numpy()
    act = seen["map"].numpy()
    at = np.zeros((3, H, W))
    for n, y, x in itertools.product(range(3), range(H), range(W)):
        a = act[n, :, y, x]
        at[n, y, x] = a @ v * max(0.1, a @ v / np.sqrt((a @ a) * (v @ v))) ** power
    close(o.direction("map", VECTOR, cosine_power=power)(seen), at.mean((1, 2)))
    close(o.direction_neuron("map", VECTOR, 4, 0, cosine_power=power)(seen), at[:, 4, 0])
    close(o.direction_neuron("map", VECTOR, cosine_power=power)(seen), at[:, 2, 3])
    same_everywhere = VECTOR.view(C, 1, 1).expand(C, H, W)
    close(o.tensor_direction("map", same_everywhere, cosine_power=power)(seen), at.mean((1, 2)))
    close(o.tensor_direction("map", same_everywhere[:, :2, :3], cosine_power=power)(seen), at[:, 1:3, 2:5].mean((1, 2)))


def test_a_cosine_knows_no_length_and_ends_at_one() -> None:
    seen = seen_by_hand()
    act = seen["map"]
    cosines = torch.nn.functional.cosine_similarity(act, VECTOR.view(1, C, 1, 1), dim=1)
    close(o.cosine_direction("map", VECTOR)(seen), cosines.mean((1, 2)))
    close(o.cosine_direction("map", 3 * VECTOR)(seen), cosines.mean((1, 2)))
    assert torch.allclose(o.cosine_similarity("map", 7 * act[1])(seen)[1], torch.ones((), dtype=torch.float64), atol=1e-14)
    expected = [np.corrcoef(one.flatten(), GIVEN.flatten())[0, 1] for one in act.numpy()]
    close(o.correlation("map", GIVEN)(seen), expected)
    assert o.correlation("map", 2 * act[1] + 5)(seen)[1].item() == pytest.approx(1, abs=1e-14)


def test_comparisons_with_a_given_activation() -> None:
    seen, g = seen_by_hand(), GIVEN.numpy()
    act = seen["map"].numpy()
    shares = [(a * g).sum() / (g * g).sum() for a in act]
    cosines = [(a * g).sum() / np.sqrt((a * a).sum() * (g * g).sum()) for a in act]
    close(o.dot_cosine("map", GIVEN, cosine_power=0)(seen), shares)
    close(
        o.dot_cosine("map", GIVEN, cosine_power=2)(seen), [s * max(0.1, c) ** 2 for s, c in zip(shares, cosines, strict=True)]
    )
    relative = [((a - g) ** 2).sum() / (g * g).sum() for a in act]
    close(o.feature_match("map", GIVEN[None])(seen), [-one for one in relative])
    close(o.content_distance("map", GIVEN)(seen), relative)
    close(o.content_distance("map", GIVEN, power=1)(seen), [np.abs(a - g).sum() / np.abs(g).sum() for a in act])
    squares = ((seen.pixels[:, :3] - PICTURE) ** 2).numpy()
    close(o.input_diff(PICTURE)(seen), np.sqrt(squares.mean((1, 2, 3))))


def test_what_is_given_is_matched_by_itself() -> None:
    seen = seen_by_hand()
    own = seen["map"][1]
    for objective, best in [
        (o.dot_cosine("map", own), 1), (o.feature_match("map", own), 0), (o.content_distance("map", own), 0),
        (o.style_distance("map", own), 0), (o.style_distance("map", own, power=1), 0), (o.input_diff(seen.pixels[1, :3]), 0),
    ]:  # fmt: skip
        assert objective(seen)[1].item() == pytest.approx(best, abs=1e-14)


def gram_by_loops(act: np.ndarray) -> np.ndarray:
    """(c, h, w) to (c, c)."""
    found = np.zeros((len(act), len(act)))
    for i, j in itertools.product(range(len(act)), repeat=2):
        found[i, j] = sum(act[i, y, x] * act[j, y, x] for y in range(act.shape[1]) for x in range(act.shape[2]))
    return found / (act.shape[1] * act.shape[2])


def test_style_is_the_gram_matrix_of_channels() -> None:
    seen = seen_by_hand()
    grams = [gram_by_loops(one) for one in seen["map"].numpy()]
    close(o.gram(seen["map"]), grams)
    wanted = gram_by_loops(GIVEN[:, :, :2].numpy())
    expected = [((one - wanted) ** 2).sum() / (wanted**2).sum() for one in grams]
    close(o.style_distance("map", GIVEN[:, :, :2])(seen), expected)  # of another width
    close(
        o.style_distance("map", GIVEN[:, :, :2], power=1)(seen),
        [np.abs(g - wanted).sum() / np.abs(wanted).sum() for g in grams],
    )


def test_style_does_not_know_where_things_are() -> None:
    seen = seen_by_hand()
    shuffled = seen["map"].flatten(2)[:, :, torch.randperm(H * W, generator=torch.Generator().manual_seed(0))].view(3, C, H, W)
    close(o.style_distance("map", GIVEN)(with_acts(seen, shuffled)), o.style_distance("map", GIVEN)(seen))


def test_diversity_is_minus_the_likeness_to_the_others() -> None:
    seen = seen_by_hand(4)
    grams = [gram_by_loops(one) for one in seen["map"].numpy()]
    unit = [one / np.sqrt((one**2).sum()) for one in grams]
    expected = [-sum((unit[i] * unit[j]).sum() for j in range(4) if j != i) for i in range(4)]
    found = o.diversity("map")(seen)
    close(found, expected)
    all_pairs = sum((unit[i] * unit[j]).sum() for i, j in itertools.permutations(range(4), 2))
    assert found.mean().item() == pytest.approx(-all_pairs / 4, rel=1e-12)  # the published number
    alike = with_acts(seen, seen["map"][:1].repeat(4, 1, 1, 1))
    close(o.diversity("map")(alike), [-3] * 4)


@pytest.mark.parametrize(("n", "decay", "distances"), [(6, 2, (1, 2, 3, 4)), (3, 2, (1, 2, 3, 4)), (5, 3, (2,))])
def test_alignment_compares_neighbours_less_the_farther_they_are(n: int, decay: float, distances: tuple[int, ...]) -> None:
    seen = seen_by_hand(n)
    act = seen["map"].numpy()
    expected = [0.0] * n
    for i, j in itertools.permutations(range(n), 2):
        if abs(i - j) in distances:
            expected[i] -= ((act[i] - act[j]) ** 2).mean() / decay ** abs(i - j)
    close(o.alignment("map", decay=decay, distances=distances)(seen), expected)


def test_a_path_leads_from_one_objective_to_the_other() -> None:
    seen = seen_by_hand(5)
    act = seen["map"].mean((2, 3))
    t = torch.tensor([0, 0.25, 0.5, 0.75, 1], dtype=torch.float64)
    close(o.channel_interpolate("map", 0, "map", 5)(seen), (1 - t) * act[:, 0] + t * act[:, 5])


def test_each_group_is_compared_for_itself() -> None:
    seen = seen_by_hand(4)
    both = o.each([o.channel("map", 0) + o.diversity("map"), o.channel("map", 1)], group=2)
    first, second = seen.split(2)
    close(both(seen), torch.cat([(o.channel("map", 0) + o.diversity("map"))(first), o.channel("map", 1)(second)]))


@dataclass
class Answer:
    """As Hugging Face's networks answer."""

    logits: Tensor
    loss: None = None


@pytest.mark.parametrize(
    "answer",
    [
        lambda logits: logits, lambda logits: {"logits": logits, "scale": torch.ones(())}, lambda logits: (logits, None),
        lambda logits: [{"scores": one} for one in logits], Answer,
    ],
    ids=["tensor", "dict", "tuple", "detections", "dataclass"],
)  # fmt: skip
def test_any_answer_is_split_by_groups(answer: Callable[[Tensor], Any]) -> None:
    seen = dataclasses.replace(seen_by_hand(6), output=answer(numbers(6, 5)))
    for i, part in enumerate(seen.split(2)):
        expected = answer(numbers(6, 5)[2 * i : 2 * i + 2])
        assert str(part.output if not isinstance(expected, tuple) else tuple(part.output)) == str(expected)


def test_a_layer_may_be_called_output() -> None:
    class Net(torch.nn.Sequential):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.output = torch.nn.Conv2d(3, 4, 3).double(), torch.nn.ReLU()

    model, pixels = tp.wrap(Net(), size=16), numbers(2, 3, 16, 16).sigmoid()
    found = measure(model, o.as_objective(model, "output:1") + o.target(lambda answer: answer[:, 2].mean((1, 2))), pixels)
    answer = model(model.preprocessing.normalize(pixels)).detach()
    close(found, answer[:, 1:3].mean((2, 3)).sum(1))


# --- penalties


@pytest.mark.parametrize("beta", [1, 2, 1.5])
def test_total_variation_by_loops(beta: float) -> None:
    seen = seen_by_hand(2)
    x = seen.pixels[:, :3].numpy()
    expected = np.zeros(2)
    for n, c, row, column in itertools.product(range(2), range(3), range(9), range(12)):
        dx = x[n, c, row, column + 1] - x[n, c, row, column] if column < 11 else 0
        dy = x[n, c, row + 1, column] - x[n, c, row, column] if row < 8 else 0
        expected[n] += (dx**2 + dy**2) ** (beta / 2)
    close(o.total_variation(beta=beta)(seen), expected / (3 * 9 * 12))


def test_an_edge_costs_its_height() -> None:
    edge = torch.zeros(1, 3, 8, 10, dtype=torch.float64)
    edge[..., 4:] = 0.7  # eight of eighty pixels differ from their right neighbour
    seen = Seen(shared("reused"), edge, edge, {})
    close(o.total_variation()(seen), [0.07])
    close(o.total_variation(beta=2)(seen), [0.049])


def blur_by_loops(x: np.ndarray, sigma: float) -> np.ndarray:
    """(h, w), weights within 3 sigma along each axis, renormalised at the edge."""
    reach, found = int(np.ceil(3 * sigma)), np.zeros_like(x)
    for row, column in np.ndindex(x.shape):
        total = 0.0
        for dy, dx in itertools.product(range(-reach, reach + 1), repeat=2):
            if 0 <= row + dy < x.shape[0] and 0 <= column + dx < x.shape[1]:
                weight = np.exp(-(dy**2 + dx**2) / (2 * sigma**2))
                total += weight
                found[row, column] += weight * x[row + dy, column + dx]
        found[row, column] /= total
    return found


@pytest.mark.parametrize("sigma", [1, 1.6])
def test_blur_difference_by_loops(sigma: float) -> None:
    seen = seen_by_hand(2)
    x = seen.pixels.numpy()
    expected = [np.mean([(one - blur_by_loops(one, sigma)) ** 2 for one in picture[:3]]) for picture in x]
    close(o.blur_difference(sigma_px=sigma)(seen), expected)
    alpha = [np.mean((picture[3] - blur_by_loops(picture[3], sigma)) ** 2) for picture in x]
    close(o.blur_difference(sigma_px=sigma, of="alpha")(seen), alpha)


@pytest.mark.parametrize("side", [(9, 12), (12, 9), (10, 10)])
def test_boundary_complexity_by_loops(side: tuple[int, int]) -> None:
    seen, border = seen_by_hand(2, side), 3
    expected = []
    for picture in seen.pixels[:, :3].numpy():
        values = []
        for channel in picture:
            blur = blur_by_loops(channel, 1)
            for row, column in np.ndindex(side):
                if min(row, column, side[0] - 1 - row, side[1] - 1 - column) < border:
                    values.append((channel[row, column] - blur[row, column]) ** 2 + 0.8 * (channel[row, column] - 0.5) ** 2)
        expected.append(np.mean(values))
    close(o.boundary_complexity(width_px=border)(seen), expected)


def test_the_border_of_one_colour_has_only_that() -> None:
    picture = torch.full((1, 3, 30, 50), 0.25, dtype=torch.float64)
    seen = Seen(shared("reused"), picture, picture, {})
    close(o.boundary_complexity(width_px=10)(seen), [0.8 / 16])  # nothing leaks in where the picture ends
    picture[..., 11:19, 11:39] = 1.0
    assert 0 < o.boundary_complexity(width_px=10)(seen).item() - 0.8 / 16 < 1e-3  # what the blur of the inside brings


def test_norms_of_colours_alpha_and_what_the_network_gets() -> None:
    model = tp.wrap(shared("reused").module, size=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    pixels = seen_by_hand().pixels
    seen = Seen(model, pixels, pixels[:, :3], {})
    colors = pixels[:, :3].numpy()
    ready = (colors - np.array([0.5, 0.4, 0.3])[:, None, None]) / np.array([0.2, 0.3, 0.4])[:, None, None]
    close(o.l1()(seen), np.abs(colors - 0.5).mean((1, 2, 3)))
    close(o.l2(constant=0.1)(seen), ((colors - 0.1) ** 2).mean((1, 2, 3)))
    close(o.power_norm()(seen), (ready**6).mean((1, 2, 3)))
    close(o.alpha_mean()(seen), pixels[:, 3].numpy().mean((1, 2)))
    close(o.l1(constant=0, of="alpha")(seen), pixels[:, 3].numpy().mean((1, 2)))


# --- gradients


def at_zero(dtype: torch.dtype) -> tuple[Seen, list[Tensor]]:
    """Nothing is active, the pictures are one grey: where roots and cosines have no derivative."""
    act = torch.zeros(2, C, H, W, dtype=dtype, requires_grad=True)
    pixels = torch.full((2, 4, 9, 12), 0.5, dtype=dtype, requires_grad=True)
    output = torch.zeros(2, 5, dtype=dtype, requires_grad=True)
    return Seen(shared("reused"), pixels, pixels[:, :3], {"map": act}, output), [act, pixels, output]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ALONE | GROUPS)
def test_gradients_are_finite_where_nothing_is_active(name: str, dtype: torch.dtype) -> None:
    seen, leaves = at_zero(dtype)
    values = (ALONE | GROUPS)[name]()(seen)
    assert values.dtype == dtype
    assert values.isfinite().all()
    gradients = torch.autograd.grad(values.sum(), leaves, allow_unused=True)
    assert all(one is None or one.isfinite().all() for one in gradients)


def test_values_under_autocast_are_as_exact_as_the_pixels() -> None:
    seen = seen_by_hand()
    coarse = Seen(seen.model, seen.pixels.float(), seen.images, {"map": seen["map"].bfloat16()}, seen.output)
    found = o.cosine_similarity("map", seen["map"][0].bfloat16())(coarse)
    assert found.dtype == torch.float32
    assert found[0].item() == pytest.approx(1, abs=1e-6)  # bfloat16 would end at .996 or 1


# --- pictures

LAYER = "two"
"""Of the network that reuses its ReLU: six channels, half the picture's size, before the ReLU."""


def given_at(size: tuple[int, int]) -> Tensor:
    return numbers(6, size[0] // 2, size[1] // 2, seed=20)


RAISED: dict[str, Callable[[tuple[int, int]], Objective]] = {
    "channel": lambda _: o.channel(LAYER, 2),
    "-channel": lambda _: -o.channel(LAYER, 2),
    "neuron": lambda _: o.neuron(LAYER, 2),
    "neuron at": lambda size: o.neuron(LAYER, 2, 0, size[1] // 2 - 1),
    "unit": lambda _: o.unit(Unit(LAYER, 1)),
    "channel_weight": lambda _: o.channel_weight(LAYER, VECTOR),
    "neuron_weight": lambda _: o.neuron_weight(LAYER, VECTOR),
    "local_group": lambda _: o.local_group(LAYER, None, 1, 2, 3, 2),
    "deep_dream": lambda _: o.deep_dream(LAYER),
    "direction": lambda _: o.direction(LAYER, VECTOR, cosine_power=1),
    "direction_neuron": lambda _: o.direction_neuron(LAYER, VECTOR),
    "cosine_direction": lambda _: o.cosine_direction(LAYER, VECTOR),
    "concept": lambda _: o.concept(Concept(LAYER, VECTOR)),
    "tensor_direction": lambda size: o.tensor_direction(LAYER, given_at(size)),
    "class_logit": lambda _: o.class_logit(3),
    "class_probability": lambda _: o.class_probability(3),
    "class_log_probability": lambda _: o.class_log_probability(3),
    "class_contrast": lambda _: o.class_contrast(3, 1),
    "target": lambda _: o.target(tp.Output(2)),
    "dot_cosine": lambda size: o.dot_cosine(LAYER, given_at(size)),
    "cosine_similarity": lambda size: o.cosine_similarity(LAYER, given_at(size)),
    "correlation": lambda size: o.correlation(LAYER, given_at(size)),
    "feature_match": lambda size: o.feature_match(LAYER, given_at(size)),
    "content_distance": lambda size: -o.content_distance(LAYER, given_at(size), power=1),
    "style_distance": lambda size: -o.style_distance(LAYER, given_at(size)),
    "input_diff": lambda size: -o.input_diff(numbers(3, *size, seed=21).sigmoid()),
    "diversity": lambda _: o.diversity(LAYER),
    "alignment": lambda _: o.alignment(LAYER),
    "interpolate": lambda _: o.interpolate(o.deep_dream(LAYER), o.channel("one", 1)),
    "channel_interpolate": lambda _: o.channel_interpolate(LAYER, 0, "three", 1),
    "total_variation": lambda _: -o.total_variation(),
    "l1": lambda _: -o.l1(constant=0.3),
    "l2": lambda _: -o.l2(constant=0.3),
    "power_norm": lambda _: -o.power_norm(),
    "blur_difference": lambda _: -o.blur_difference(),
    "boundary_complexity": lambda _: -o.boundary_complexity(width_px=4),
}


def rendered(objective: Objective, size: tuple[int, int], n: int = 1, n_steps: int = 8) -> list[Tensor]:
    """The pixels before and after: as they are, without transforms."""
    start = Start(size, variants=tuple(range(n)), rows=tuple(range(n)), dtype=torch.float64)
    recipe = Recipe(pixel(sd=0.5), transforms=(), n_steps=n_steps, redirect=0)
    before = recipe.parametrization(start).pixels().detach()
    with shared("reused").pinned():
        *_, last = optimize(shared("reused"), objective, recipe, start)
    assert last.broken.sum() == 0
    return [before, last.pixels()]


@pytest.mark.parametrize("size", [(16, 16), (12, 20)])
@pytest.mark.parametrize("name", RAISED)
def test_a_picture_raises_its_own_objective(name: str, size: tuple[int, int]) -> None:
    objective = RAISED[name](size)
    n = 3 if name in GROUPS else 1
    before, after = (measure(shared("reused"), objective, pixels) for pixels in rendered(objective, size, n))
    assert after.isfinite().all()
    assert after.sum() > before.sum()  # of a group: what one picture gives up another may win


def test_every_objective_is_optimised_here() -> None:
    assert {name.lstrip("-").partition(" ")[0] for name in RAISED} == set(o.__all__) - NOT_OBJECTIVES - {"alpha_mean"}


@pytest.mark.bits
def test_groups_that_are_made_together_are_those_made_alone() -> None:
    objectives = [o.channel(LAYER, i) + o.diversity(LAYER) - o.l2() for i in range(2)]
    objectives.append(o.class_logit(1) + o.alignment("three"))
    together = render(shared("reused"), objectives, Recipe(n_steps=3), size=(12, 16), group=3, batch=9)
    alone = [render(shared("reused"), [one], Recipe(n_steps=3), size=(12, 16), group=3, batch=9) for one in objectives]
    assert torch.equal(together.pixels, torch.cat([one.pixels for one in alone]))
    assert torch.equal(together.scores, torch.cat([one.scores for one in alone]))


def high_share(pixels: Tensor) -> Tensor:
    """(n,): the share of a picture's energy, without its mean, above a quarter of a cycle a pixel."""
    energy = torch.fft.fft2(pixels - pixels.mean((2, 3), keepdim=True)).abs() ** 2
    f = torch.fft.fftfreq(pixels.shape[-2])[:, None] ** 2 + torch.fft.fftfreq(pixels.shape[-1])[None] ** 2
    return energy[..., f > 0.25**2].sum((1, 2)) / energy.sum((1, 2, 3))


@pytest.mark.parametrize("penalty", [o.blur_difference(), o.total_variation(beta=2)])
def test_subtracting_a_smoothness_penalty_lowers_high_frequencies(penalty: Objective) -> None:
    shares = [high_share(rendered(o.channel(LAYER, 2) + w * penalty, (16, 24), n_steps=20)[1]) for w in (-40, 0, 40)]
    assert (shares[0] < 0.5 * shares[1]).all()
    assert (shares[1] < shares[2]).all()  # the wrong sign


@pytest.mark.weights
@pytest.mark.slow
def test_penalties_and_groups_on_a_trained_network() -> None:
    model = tp.load("efficientnet_lite0")
    channel, layer = o.channel("blocks.3.0", 5), "blocks.4.2"
    penalties = [o.total_variation(), o.blur_difference(), o.l2(), o.boundary_complexity()]
    weights = [100, 1000, 300, 300]
    made = tp.visualize(
        model, [channel, *(channel - w * one for w, one in zip(weights, penalties, strict=True))], size=64, n_steps=48
    )
    for i, penalty in enumerate(penalties):
        plain, penalised = measure(model, penalty, made.pixels[[0, i + 1]])
        assert penalised < 0.8 * plain
        assert measure(model, channel, made.pixels[i + 1 :][:1]) > 0.9 * made.scores[0]  # and the channel is still seen
    shares = high_share(made.pixels[[0, 2]])
    assert shares[1] < 0.9 * shares[0]
    likeness = -o.diversity(layer)
    alike, diverse = (
        measure(
            model,
            likeness,
            render(model, [o.channel(layer, 7) - w * likeness], Recipe(n_steps=48), size=(64, 64), group=3).pixels,
        )
        for w in (0, 10)
    )
    assert diverse.mean() < 0.9 * alike.mean()


def test_a_dead_channel_leaves_the_picture_as_it_was() -> None:
    model = vision_model("in_place")
    with torch.no_grad():
        model.module.features[5].bias[4] = -1e6  # behind its ReLU channel 4 is always zero
    start = Start((12, 20), dtype=torch.float64)
    recipe = Recipe(pixel(sd=0.5), transforms=(), n_steps=3, redirect=0)
    for objective in (o.channel("features", 4), o.neuron("features", 4, 1, 1), o.channel("features", 4) * o.l1()):
        steps = list(optimize(model, objective, recipe, start))
        assert torch.equal(steps[-1].values, torch.zeros(1, dtype=torch.float64))
        assert not steps[-1].answered.any()
        assert not steps[-1].broken.any()


# --- names and refusals


@pytest.mark.parametrize(
    ("objective", "name"),
    [
        (o.channel("a.b", 5), "channel(a.b, 5)"),
        (o.neuron("a.b", 5), "neuron(a.b, 5)"),
        (o.neuron("a.b", 5, 3, 4), "neuron(a.b, 5, 3, 4)"),
        (o.local_group("a", None, 1, 2, 3, 4), "local_group(a, all, 1, 2, 3, 4)"),
        (o.local_group("a", VECTOR, 1, 2), "local_group(a, 6 numbers, 1, 2, 1, 1)"),
        (o.direction("a", VECTOR), "direction(a, 6 numbers)"),
        (o.direction("a", VECTOR, cosine_power=0.5), "direction(a, 6 numbers, cosine_power=0.5)"),
        (o.dot_cosine("a", GIVEN), "dot_cosine(a, 6 x 5 x 7 numbers, cosine_power=1)"),
        (o.class_logit("tabby"), "class_logit(tabby)"),
        (o.class_contrast(3, 1), "class_contrast(3, 1)"),
        (o.target(tp.probability("tabby")), "target(probability of tabby)"),
        (o.total_variation(), "total_variation()"),
        (o.total_variation(beta=2, of="model_ready"), "total_variation(beta=2, of=model_ready)"),
        (o.power_norm(), "power_norm()"),
        (o.alignment("a", distances=(1, 2)), "alignment(a, distances=(1, 2))"),
        (o.channel("a", 1) - 0.5 * o.l1(), "channel(a, 1) - (0.5 * l1())"),
        (-(o.channel("a", 1) + o.channel("a", 2)), "-(channel(a, 1) + channel(a, 2))"),
        (sum([o.channel("a", 1), o.l2(constant=0)]), "channel(a, 1) + l2(constant=0)"),
    ],
)
def test_names_read_as_the_call_that_made_them(objective: Objective, name: str) -> None:
    assert str(objective) == name


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "negative channel": (lambda: o.channel("map", -1), "whole number from 0 up"),
    "no number": (lambda: o.neuron("map", True), "whole number"),
    "half a place": (lambda: o.neuron("map", 1, 2), "a row and a column"),
    "no height": (lambda: o.local_group("map", 1, 0, 0, 0), "whole number from 1 up"),
    "zero direction": (lambda: o.direction("map", [0.0, 0.0]), "zero everywhere"),
    "broken direction": (lambda: o.direction("map", [0.0, float("nan")]), "NaN"),
    "table": (lambda: o.channel_weight("map", torch.ones(2, 2)), "one number a channel"),
    "power": (lambda: o.direction("map", VECTOR, cosine_power=-1), "from 0 up"),
    "two given": (lambda: o.feature_match("map", numbers(2, C, H, W)), "of one picture"),
    "zero given": (lambda: o.content_distance("map", torch.zeros(C, H, W)), "zero everywhere"),
    "constant given": (lambda: o.correlation("map", torch.ones(C, H, W)), "without its mean is zero"),
    "beta": (lambda: o.total_variation(beta=0.5), "from 1 up"),
    "sigma": (lambda: o.blur_difference(sigma_px=0), "above 0"),
    "width": (lambda: o.boundary_complexity(width_px=0), "from 1 up"),
    "decay": (lambda: o.alignment("map", decay=0), "above 0"),
    "distances": (lambda: o.alignment("map", distances=()), "at some distance"),
    "no target": (lambda: o.target(None), "no predicted class"),
    "no class": (lambda: o.target(tp.probability()), "no predicted class"),
    "a unit": (lambda: o.target(Unit("map", 1)), "inside the network"),
    "no corners": (lambda: o.target(tp.Box("dog")), "no surest box"),
    "no mask": (lambda: o.target(tp.Region("dog")), "no region"),
    "targets": (lambda: o.target([1, 2]), "one target"),
    "channel": (lambda: o.channel("map", C)(seen_by_hand()), "6 channels, 0 to 5"),
    "place": (lambda: o.neuron("map", 1, 5, 0)(seen_by_hand()), "5 x 7"),
    "rectangle": (lambda: o.local_group("map", 1, 3, 3, 3, 3)(seen_by_hand()), "do not lie in the map"),
    "numbers": (lambda: o.direction("map", numbers(5))(seen_by_hand()), "5 numbers were given for map, which has 6"),
    "size": (lambda: o.tensor_direction("map", numbers(C, 6, 3))(seen_by_hand()), "do not fit"),
    "given size": (lambda: o.feature_match("map", numbers(C, 3, 3))(seen_by_hand()), "of the size that is rendered"),
    "style channels": (lambda: o.style_distance("map", numbers(5, 3, 3))(seen_by_hand()), "5 channels"),
    "picture": (lambda: o.input_diff(numbers(3, 4, 4))(seen_by_hand()), "3 x 4 x 4"),
    "border": (lambda: o.boundary_complexity()(seen_by_hand()), "fills the picture of 9 x 12"),
    "alpha": (lambda: o.alpha_mean()(opaque(seen_by_hand())), "no alpha"),
    "one of a group": (lambda: o.diversity("map")(seen_by_hand(1)), "needs 2 or more"),
    "two of three": (lambda: o.alignment("map", distances=(2,))(seen_by_hand(2)), "needs 3 or more"),
    "one on a path": (lambda: o.channel_interpolate("map", 0, "map", 1)(seen_by_hand(1)), "needs 2 or more"),
    "no such class": (lambda: o.class_logit(5)(seen_by_hand()), "class 5 does not exist"),
    "not a map": (lambda: o.channel("map", 0)(with_acts(seen_by_hand(), numbers(3, C, H))), "3 x 6 x 5 numbers"),
}


def opaque(seen: Seen) -> Seen:
    return Seen(seen.model, seen.pixels[:, :3], seen.images, seen.acts, seen.output)


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_would_work(case: str) -> None:
    act, words = REFUSED[case]
    with pytest.raises(TapetumError) as refusal:
        act()
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


# --- answers and reading


@pytest.mark.parametrize("name", ["reused", "as_dict", "as_dataclass"])
def test_objectives_at_the_answer_are_the_scores_of_explanations(name: str) -> None:
    model, pixels = shared(name), numbers(2, 3, 16, 16).sigmoid()
    for what in (3, tp.contrast(3, 1), tp.probability(3), tp.log_probability(tp.contrast(3, 1)), tp.Output(2)):
        expected = tp.as_score(model, pixels, what)(pixels).detach()
        torch.testing.assert_close(measure(model, o.target(what), pixels), expected, rtol=1e-12, atol=0)


def test_a_likeness_is_an_objective() -> None:
    model, pixels = shared("reused"), numbers(2, 3, 16, 16).sigmoid()
    found = measure(model, o.target(tp.Similarity(pixels[:1])), pixels)
    assert found[0].item() == pytest.approx(1, abs=1e-12)
    assert found[1] < 1


@functools.cache
def labelled() -> tp.VisionModel:
    return tp.wrap(
        shared("reused").module, size=16, mean=(0.0,) * 3, std=(1.0,) * 3, labels=["cat", "dog", "two", "a:1", "emu"]
    )


def names_of(things: Any) -> list[str]:
    return [str(one) for one in o.as_objectives(labelled(), things)]


def test_texts_are_read_as_units_ranges_and_classes() -> None:
    assert names_of("one:5") == ["channel(one, 5)"]
    assert names_of(Unit("one", 5, (2, 3))) == names_of("one:5@2,3") == ["neuron(one, 5, 2, 3)"]
    assert names_of("one:5@40,3") == ["neuron(one, 5, 40, 3)"]  # there, if the picture is large enough
    assert names_of("three:*") == [f"channel(three, {i})" for i in range(8)]
    assert names_of("one:1-3") == names_of("one:1,2,3") == names_of("one: 1-2, 3") == [f"channel(one, {i})" for i in (1, 2, 3)]
    assert names_of("t*:0") == ["channel(two, 0)", "channel(three, 0)"]
    assert names_of("head.linear:4") == ["channel(head.linear, 4)"]  # a vector
    assert names_of(["one:0", 1, "emu", tp.contrast("cat", "dog"), tp.probability("emu")]) == [
        "channel(one, 0)", "class_logit(dog)", "class_logit(emu)", "target(cat rather than dog)", "target(probability of emu)",
    ]  # fmt: skip
    assert names_of("3") == ["class_logit(a:1)"]
    assert names_of(torch.tensor([0, 1])) == names_of(np.arange(2)) == names_of(range(2)) == names_of(["cat", "dog"])
    assert names_of("cat rather than dog") == ["target(cat rather than dog)"]
    assert names_of("a:1") == ["class_logit(a:1)"]  # a class may be called anything
    assert names_of(o.channel("one", 1) - o.l1()) == ["channel(one, 1) - l1()"]
    assert str(o.as_objective(labelled(), lambda output: output[:, 0])) == "target(<lambda>)"


def test_texts_with_signs_are_one_mixed_objective() -> None:
    assert names_of("one:5 + two:1") == ["channel(one, 5) + channel(two, 1)"]
    assert names_of("one:5 - two:1") == ["channel(one, 5) - channel(two, 1)"]
    assert names_of("0.5 * one:5 + emu") == ["0.5 * channel(one, 5) + class_logit(emu)"]
    assert names_of("emu - 2 * one:5@1,2 + 1e-1*cat") == [
        "class_logit(emu) - (2 * neuron(one, 5, 1, 2)) + 0.1 * class_logit(cat)"
    ]
    assert names_of("-one:5") == names_of("- one:5") == ["-channel(one, 5)"]
    assert names_of("3 * one:5") == ["3 * channel(one, 5)"]
    assert names_of("1 + one:5") == ["class_logit(dog) + channel(one, 5)"]
    assert names_of("emu + one:5") == ["class_logit(emu) + channel(one, 5)"]  # a colon at the end only
    assert names_of("emu - cat - dog") == ["class_logit(emu) - class_logit(cat) - class_logit(dog)"]
    assert names_of("emu - dog") == names_of("emu rather than dog")  # the contrast that it always was
    assert names_of("probability of emu - dog") == ["target(probability of emu rather than dog)"]
    assert names_of("one:1 - 3") == names_of("one:1-3")  # the range that it always was
    assert names_of(["one:1 + one:2", "one:3"]) == ["channel(one, 1) + channel(one, 2)", "channel(one, 3)"]


def test_a_mix_has_the_value_of_its_terms() -> None:
    model, pixels = labelled(), numbers(2, 3, 16, 16).sigmoid()
    parts = [measure(model, o.as_objective(model, one), pixels) for one in ("one:5", "emu", "two:1@1,1")]
    found = measure(model, o.as_objective(model, "0.5 * one:5 - emu + 3 * two:1@1,1"), pixels)
    torch.testing.assert_close(found, 0.5 * parts[0] - parts[1] + 3 * parts[2], rtol=1e-12, atol=1e-14)


def test_labels_with_signs_keep_their_meaning() -> None:
    labels = ["salt + pepper", "cat", "black - white bear", "2 * 4", "- none -"]
    model = tp.wrap(shared("reused").module, size=16, mean=(0.0,) * 3, std=(1.0,) * 3, labels=labels)

    def read(text: str) -> str:
        return str(o.as_objective(model, text))

    for label in labels:
        assert read(label) == f"class_logit({label})"
    assert read("salt + pepper - cat") == "target(salt + pepper rather than cat)"
    assert read("salt + pepper + cat") == "class_logit(salt + pepper) + class_logit(cat)"
    assert read("one:1 + 0.5 * black - white bear - cat") == (
        "channel(one, 1) + 0.5 * class_logit(black - white bear) - class_logit(cat)"
    )
    assert read("one:1 - Black - white") == "channel(one, 1) - class_logit(black - white bear)"
    assert read("3 * 2 * 4 + one:1") == "3 * class_logit(2 * 4) + channel(one, 1)"


@pytest.mark.parametrize("thing", ["one:2", "one:2@1,1", 3, "emu", "dog rather than cat", tp.Output(1), "head.linear:4"])
def test_what_is_read_has_the_value_of_its_target(thing: Any) -> None:
    model, pixels = labelled(), numbers(2, 3, 16, 16).sigmoid()
    found = measure(model, o.as_objective(model, thing), pixels)
    target = 4 if thing == "head.linear:4" else thing
    torch.testing.assert_close(found, tp.as_score(model, pixels, target)(pixels).detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        ("oen:5", "close names: one"),
        ("one:6", "6 channels, 0 to 5"),
        ("one:4-9", "6 channels, 0 to 5"),
        ("one:3-1", "smaller number first"),
        ("one:red", "layer:5@row,column"),
        ("one", "write 'one:5' for a channel"),
        ("head.linear:5", "5 channels, 0 to 4"),
        (Unit("one", 6), "6 channels"),
        (Unit("t*", 0), "means 2 layers"),
        (7, "class 7 does not exist"),
        ("zebra", "zebra"),
        (None, "no predicted class"),
        ([], "nothing to make a picture of"),
        ([["one:1"]], "a + b"),
        (o.channel("oen", 1) + o.l1(), "close names: one"),
        (o.channel("one", 1) + o.channel("one", 6), "6 channels"),
        (o.deep_dream("thr*"), "full names"),
        (True, "no target"),
        ("one:1-3 + two:1", "mixes single ones"),
        ("one:1 + oen:5", "close names: one"),
        ("one:1 + one:6", "6 channels"),
        ("one:1 - zebra", "zebra"),
        ("one:1 + one", "write 'one:5' for a channel"),
        ("two:1 + one:1 - 3", "or 'one:3'"),
        ("one:1 + + two:1", "close names: two"),
        ("2 * ", "no label"),
        ("cat + 9", "class 9 does not exist"),
    ],
)
def test_what_cannot_be_read_is_refused(thing: Any, words: str) -> None:
    with pytest.raises(TapetumError) as refusal:
        o.as_objectives(labelled(), thing)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_text_is_a_likeness_where_the_model_reads_texts() -> None:
    net, ready = shared("reused").module, shared("reused").preprocessing
    model = tp.VisionModel(net, "net", ready, encode_text=lambda _, texts: numbers(len(texts), 5, seed=len(texts[0])))
    pixels = numbers(2, 3, 16, 16).sigmoid()
    assert str(o.as_objective(model, "a cat + a dog")) == "target(similarity to a cat + a dog)"
    assert str(o.as_objective(model, "one:1 + a cat")) == "channel(one, 1) + target(similarity to a cat)"
    objective = o.as_objective(model, "a photo of a cat")
    assert str(objective) == "target(similarity to a photo of a cat)"
    expected = tp.as_score(model, pixels, "a photo of a cat")(model.preprocessing.normalize(pixels)).detach()
    torch.testing.assert_close(measure(model, objective, pixels), expected, rtol=1e-12, atol=0)


def test_visualize_reads_what_objectives_are_read_from() -> None:
    made = tp.visualize(labelled(), ["three:0-1", "emu", o.channel("one", 1) - o.l2()], size=16, n_steps=1, batch=4)
    assert made.objectives == (
        "channel(three, 0)", "channel(three, 1)", "class_logit(emu)", "channel(one, 1) - l2()",
    )  # fmt: skip


def test_one_objective_is_one() -> None:
    with pytest.raises(TapetumError, match="means 8 objectives"):
        o.as_objective(labelled(), "three:*")
    with pytest.raises(LayerError):
        o.as_objective(labelled(), "four:1")
