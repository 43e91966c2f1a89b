"""The statistics of an audit: effects by a second derivation, an exact null, pairs that do not look at classes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tapetum.families.audits.following import Moves, flips, followed, interval, lost, pairs


def moves_of(labels: Tensor, rounds: int, seed: int, follow: float, noise: float = 0.1) -> Moves:
    """Answers that follow the giver's class by `follow`, with noise and a shift for each picture that takes."""
    draws = torch.Generator().manual_seed(seed)
    n, k = len(labels), int(labels.max()) + 1
    to, given = pairs(n, rounds, seed)
    change = noise * torch.randn(len(to), k, generator=draws, dtype=torch.float64)
    change += 0.3 * torch.randn(n, k, generator=draws, dtype=torch.float64)[to]
    change += follow * (labels[given][:, None] == torch.arange(k))
    return Moves(to, given, change, torch.ones(len(to), dtype=torch.bool))


def test_every_picture_gives_and_takes_once_a_round_and_never_with_itself() -> None:
    to, given = pairs(17, 3, 5)
    for some in (to, given):
        assert torch.equal(torch.bincount(some), torch.full((17,), 3))
    assert (to != given).all()
    assert torch.equal(to[:17].sort().values, torch.arange(17))


def test_the_effect_is_the_difference_of_two_means_over_moves() -> None:
    labels = torch.arange(60) % 3
    moves = moves_of(labels, 2, 1, 0.2)
    moves = Moves(moves.to, moves.given, moves.change, torch.arange(120) % 7 != 0)  # some pictures have no object
    found = followed({"border": moves}, labels, 0.05, 0)["border"]
    for a in range(3):
        inside, outside = [], []
        for row in range(120):
            if moves.usable[row] and labels[moves.to[row]] != a:
                (inside if labels[moves.given[row]] == a else outside).append(float(moves.change[row, a]))
        # the same sums in another order: rounding alone may differ
        assert abs(float(found.effect[a]) - (sum(inside) / len(inside) - sum(outside) / len(outside))) < 1e-12


def test_answers_that_follow_nothing_are_accused_at_the_level() -> None:
    """Of 200 networks that follow nothing, about 5 % have a p-value of .05 or less over two cues and four classes."""
    labels = torch.arange(80) % 4
    least = []
    for seed in range(200):
        moves = {name: moves_of(labels, 2, 2 * seed + i, 0.0) for i, name in enumerate(("border", "tint"))}
        least.append(min(float(one.p_value.min()) for one in followed(moves, labels, 0.05, seed).values()))
    share = sum(p <= 0.05 for p in least) / len(least)
    assert share <= 0.1  # 3 standard errors of .0154 above .05
    assert 0.35 < sum(least) / len(least) < 0.65  # p-values are spread over (0, 1]


def test_answers_that_follow_the_giver_are_found_and_the_interval_holds_the_effect() -> None:
    labels = torch.arange(90) % 3
    inside = []
    for seed in range(40):
        moves = moves_of(labels, 2, seed, 0.5)
        found = followed({"border": moves}, labels, 0.05, seed)["border"]
        assert (found.p_value < 0.01).all()
        low, high = interval(moves, labels, 0, seed)
        assert low <= float(found.effect[0]) <= high
        inside.append(low <= 0.5 <= high)
    assert sum(inside) >= 33  # 95 % of 40, less four standard errors


def test_effects_that_would_not_have_been_seen_are_not_seen() -> None:
    labels = torch.arange(60) % 3
    found = followed({"border": moves_of(labels, 2, 3, 0.0)}, labels, 0.05, 3)["border"]
    assert 0.05 < found.smallest < 0.5
    strong = followed({"border": moves_of(labels, 2, 3, 2 * found.smallest)}, labels, 0.05, 3)["border"]
    assert (strong.p_value <= 0.05).all()


def test_flips_count_answers_on_pictures_of_other_classes() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    moves = Moves(torch.tensor([2, 3, 2, 0]), torch.tensor([0, 1, 3, 2]), torch.zeros(4, 2), torch.ones(4, dtype=torch.bool))
    assert flips(torch.tensor([0, 1, 0, 0]), moves, labels, 0) == (0.5, 1.0, 2)


def test_a_class_loses_where_other_classes_give_the_cue() -> None:
    labels, (to, given) = torch.tensor([0, 0, 1, 1]), (torch.tensor([0, 0, 1, 2, 3]), torch.tensor([1, 2, 3, 3, 0]))
    change = torch.tensor([[0.1, 0.0], [-0.3, 0.0], [-0.5, 0.0], [0.0, 0.2], [0.0, -0.4]])
    usable = torch.ones(5, dtype=torch.bool)
    # class 0: .1 by its own, -.4 on average by the other; class 1: .2 and -.4
    assert lost(Moves(to, given, change, usable), labels).tolist() == pytest.approx([0.5, 0.6])
    assert lost(Moves(to, given, change, usable & (labels[to] == 0)), labels).tolist() == pytest.approx([0.5, 0.0])
