"""Usual decisions of a class: false alarms come at their level, decisions by another factor are called unusual."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import tapetum as tp
from tapetum.families.concept_tests.prototypes import k_means, of_class
from tapetum.types import MethodError
from tapetum.types.decisions import limit

SIDE = 8


class TwoCues(nn.Module):
    """The second class is seen by red or by blue light, the first by green; six channels."""

    def __init__(self) -> None:
        super().__init__()
        self.colors, self.head = nn.Conv2d(3, 6, 1, bias=False), nn.Linear(6, 2, bias=False)
        with torch.no_grad():
            self.colors.weight.copy_(
                torch.eye(3).repeat(2, 1)[:, :, None, None] * torch.tensor([1, 1, 1, 0.5, 0.5, 0.5])[:, None, None, None]
            )
            self.head.weight.copy_(torch.tensor([[0, 1.0, 0, 0, 1.0, 0], [1.0, 0, 1.0, 1.0, 0, 1.0]]))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.colors(images).relu().mean((2, 3)))


def network() -> tp.VisionModel:
    return tp.wrap(TwoCues().double().eval(), size=SIDE, mean=0.0, std=1.0, outputs="logits", labels=["a", "b"], name="cues")


def lit(n: int, seed: int, color: tuple[float, float, float]) -> Tensor:
    """Pictures of a colour, each channel's strength varied by a fifth, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    strength = 1 + 0.2 * torch.randn(n, 3, 1, 1, generator=generator, dtype=torch.float64)
    noise = 0.05 * torch.rand(n, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    return strength * torch.tensor(color, dtype=torch.float64)[:, None, None] + noise


def ordinary(n: int, seed: int) -> Tensor:
    """Half of the first class, by green; half of the second, by red with a little blue."""
    return torch.cat([lit(n // 2, 2 * seed, (0.2, 2.0, 0.1)), lit(n // 2, 2 * seed + 1, (2.0, 0.2, 0.3))])


@pytest.mark.parametrize("way", ["gradient", "relevance"])
def test_decisions_by_a_planted_shortcut_are_unusual_and_honest_ones_are_not(way: str) -> None:
    model = network()
    found = tp.prototypes(model, ordinary(160, 0), "colors", way=way)  # pyright: ignore[reportArgumentType]
    cheating = found.judge(model, lit(20, 99, (0.2, 0.2, 2.0)))  # the second class, by blue
    honest = found.judge(model, ordinary(40, 7))
    assert [one.power for one in found] == [1.0, 1.0]  # each class's decisions would be unusual for the other
    assert set(cheating.labels) == {"b"}
    assert all(cheating.unusual)
    assert float(cheating.p.max()) == 1 / 41  # farther than all 40 held-out decisions
    assert set(cheating.channels[0, :2].tolist()) <= {0, 2, 3, 5}
    assert sum(honest.unusual) <= 6  # of 40 at a rate of .05
    assert "unusual for its class (p = 0.024, farther than 40 of 40 of its decisions)" in str(cheating)


def test_false_alarms_come_at_most_at_their_level_over_seeds_and_the_measured_rate_says_so() -> None:
    model, called, rates = network(), 0, []
    for seed in range(20):
        found = tp.prototypes(model, ordinary(80, seed), "colors", seed=seed, level=0.1)
        called += sum(found.judge(model, ordinary(40, 1000 + seed)).unusual)
        rates.append(found.false_alarms)
    assert called / 800 <= 0.1 + 2.6 * (0.1 * 0.9 / 800 * 2) ** 0.5  # 40 decisions share their prototypes
    assert sum(rates) / 20 <= 0.1 + 0.02


def test_shares_on_a_linear_class_are_weights_times_activations() -> None:
    model, images = network(), ordinary(40, 3)
    found = tp.prototypes(model, images, "colors")
    means = images.mean((2, 3)).clamp(min=0)
    activation = torch.cat([means, 0.5 * means], 1)
    parts = activation * model.module.head.weight[1]
    shares = parts / parts.abs().sum(1, keepdim=True)
    one = found[1]
    assert one.label == "b"
    rows = torch.tensor([int(name.split()[1]) for name in one.examples])
    assert bool((rows >= 20).all())  # pictures of the second class
    distance, _ = one.distance(shares[20:].detach())
    assert float((distance[:, None] - one.distances).abs().amin(0).max()) < 1e-9  # the held-out ones are among them


def test_p_values_count_held_out_decisions_that_are_as_far() -> None:
    shares = torch.randn(40, 3, dtype=torch.float64)
    made, nearest, left = of_class(0, "a", [f"{i}" for i in range(40)], shares, torch.arange(40), 1, 2, 0)
    assert len(left) == 0
    assert nearest == [int(made.examples[0])]
    assert len(made.distances) == 20
    own = made.distances.sort().values
    assert made.p_values(own[-1:]).tolist() == [2 / 21]
    assert made.p_values(own[-1:] + 1).tolist() == [1 / 21]
    assert made.p_values(torch.zeros(1, dtype=torch.float64)).tolist() == [1.0]


def test_means_of_two_groups_are_their_own() -> None:
    values = torch.cat([torch.randn(20, 2) * 0.1, torch.randn(30, 2) * 0.1 + 5]).double()
    centres, own = k_means(values, 2, 0)
    assert sorted(torch.bincount(own).tolist()) == [20, 30]
    assert torch.allclose(centres[own[0]], values[:20].mean(0))


def test_decisions_come_least_usual_first_with_their_pictures_and_those_of_their_class() -> None:
    model = network()
    found = tp.prototypes(model, ordinary(80, 0), "colors")
    images = torch.cat([ordinary(40, 7), lit(2, 99, (0.2, 0.2, 2.0))])
    judged = found.judge(model, images)
    assert set(judged.order()[:2]) == {40, 41}  # by blue
    assert sum(one is not None for one in judged.photographs) == 24
    picture = judged[41].photographs[0]
    assert picture is not None
    assert torch.allclose(picture, images[41].clamp(0, 1).float())
    held = judged.held_out(41)
    assert torch.equal(held, found[1].distances)
    for row in range(len(judged)):  # the line in the figure is where p reaches the level
        assert judged.unusual[row] == (float(judged.distances[row]) > limit(judged.held_out(row), 0.05))
    assert limit(held[:10], 0.05) == float("inf")


def test_a_class_with_few_decisions_has_no_prototypes_and_is_not_judged() -> None:
    model = network()
    images = torch.cat([lit(30, 0, (0.2, 2.0, 0.1)), lit(3, 1, (2.0, 0.2, 0.3))])
    found = tp.prototypes(model, images, "colors")
    assert (found.skipped, len(found)) == ({"b": 3}, 1)
    assert "cannot" in found.notes[0] or "p is at least" in found.notes[0]
    assert found.tested == 0
    assert "no class has enough decisions to try" in str(found)
    judged = found.judge(model, images[-1:])
    assert judged.unusual == (False,)
    assert "too few decisions" in str(judged)
    with pytest.raises(MethodError, match="no class has 12 decisions"):
        tp.prototypes(model, images[:5], "colors")
