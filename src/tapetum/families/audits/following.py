"""Tests whether answers follow the class of the picture that gives a cue: effect, interval, and p-value after correction.

Every picture takes the cue of another one, drawn without a look at the classes. If the cue carries nothing of the class that
the model uses, the givers' classes can be shuffled: the p-value is exact, whatever the edit does to the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from tapetum.engines.ranks import resamples

SHUFFLES = 2000
RESAMPLES = 500
TINY = 1e-9


def pairs(n: int, rounds: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows (rounds * n,) that take a cue, and rows that give it: every picture does both once a round, never with itself."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(n, generator=generator) for _ in range(rounds)]
    return torch.cat(orders), torch.cat([order.roll(1) for order in orders])


@dataclass(frozen=True)
class Moves:
    """Answers to pictures that took a cue from others.

    to, given  (m,) rows of the pictures that take and that give
    change     (m, k) float64: change of each class's probability, less that of an equal area elsewhere for a place
    usable     (m,) bool: False where a picture has no object to move or to keep
    """

    to: Tensor
    given: Tensor
    change: Tensor
    usable: Tensor


@dataclass(frozen=True)
class Followed:
    """Effects of one cue on k classes, their p-values after correction over all cues and classes, and the least p <= level.

    lost  (k,) what each class loses where another class gives the cue
    """

    effect: Tensor
    p_value: Tensor
    smallest: float
    lost: Tensor


def followed(moves: Mapping[str, Moves], labels: Tensor, level: float, seed: int) -> dict[str, Followed]:
    """Tests every cue on every class by 2000 shuffles of the givers' classes, the same ones for all, and the largest t.

    The p-value of a t is the share of shuffles whose largest t over all cues and classes reaches it (Westfall and Young).
    """
    k = int(labels.max()) + 1
    own = one_hot(labels, k).double()
    generator = torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(len(labels), generator=generator) for _ in range(SHUFFLES)])
    sums = {kind: _sums(one, labels, k) for kind, one in moves.items()}
    found = {kind: _effects(one, own) for kind, one in sums.items()}
    largest = torch.full((SHUFFLES,), -torch.inf, dtype=torch.float64)
    spread: dict[str, Tensor] = {}
    for kind, one in sums.items():
        chance = [_effects(one, own[some]) for some in orders.split(50)]
        t = torch.cat([effect / error.clamp(min=TINY) for effect, error in chance])
        largest = torch.maximum(largest, t.amax(1))
        spread[kind] = torch.cat([error for _, error in chance]).median(0).values
    bar = float(largest.quantile(1 - level))
    made: dict[str, Followed] = {}
    for kind, (effect, error) in found.items():
        t = effect / error.clamp(min=TINY)
        p = ((largest[:, None] >= t).sum(0) + 1) / (SHUFFLES + 1)
        made[kind] = Followed(effect, p, bar * float(spread[kind].median()), lost(moves[kind], labels))
    return made


@dataclass(frozen=True)
class _Sums:
    """Sums and counts (n, k) over what each picture gave to pictures of other classes than the k-th."""

    sums: Tensor
    counts: Tensor


def _sums(moves: Moves, labels: Tensor, k: int) -> _Sums:
    counted = (labels[moves.to][:, None] != torch.arange(k)) & moves.usable[:, None]
    place = moves.given[:, None].expand(-1, k)
    zeros = torch.zeros(len(labels), k, dtype=torch.float64)
    values = torch.where(counted, moves.change.double(), 0.0)
    return _Sums(zeros.scatter_add(0, place, values), zeros.scatter_add(0, place, counted.double()))


def _effects(sums: _Sums, own: Tensor) -> tuple[Tensor, Tensor]:
    """Effect (..., k) of each class and its standard error, for givers' classes `own` (..., n, k), one-hot."""
    (inside, within), (outside, without) = _ratio(sums, own), _ratio(sums, 1 - own)
    return inside - outside, (within + without).sqrt()


def _ratio(sums: _Sums, own: Tensor) -> tuple[Tensor, Tensor]:
    """Ratio (..., k) of sums and counts over the chosen givers, and its variance to first order."""
    s, c = sums.sums, sums.counts
    total, count = (own * s).sum(-2), (own * c).sum(-2).clamp(min=1)
    mean = total / count
    squares = (own * s.square()).sum(-2) - 2 * mean * (own * (s * c)).sum(-2) + mean.square() * (own * c.square()).sum(-2)
    return mean, squares.clamp(min=0) / count.square()


def lost(moves: Moves, labels: Tensor) -> Tensor:
    """Mean fall (k,) of each class's probability on its own pictures where another class gives the cue, and not its own."""
    own = moves.usable & (labels[moves.to] == labels[moves.given])
    other = moves.usable & (labels[moves.to] != labels[moves.given])
    table, k = moves.change.double(), moves.change.shape[1]
    means = [
        torch.stack([table[rows & (labels[moves.to] == index), index].mean() for index in range(k)]) for rows in (own, other)
    ]
    return (means[0] - means[1]).nan_to_num(0.0)


def interval(moves: Moves, labels: Tensor, index: int, seed: int) -> tuple[float, float]:
    """Interval of 95 % of a class's effect: pictures are resampled, and a move counts as often as both of its pictures."""
    counted = (labels[moves.to] != index) & moves.usable
    to, given, change = moves.to[counted], moves.given[counted], moves.change[counted, index].double()
    times = resamples(len(labels), seed, RESAMPLES)
    weight, inside = times[:, to] * times[:, given], (labels[given] == index).double()
    means = [(weight * side) @ change / (weight @ side).clamp(min=1) for side in (inside, 1 - inside)]
    low, high = (means[0] - means[1]).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def flips(answers: Tensor, moves: Moves, labels: Tensor, index: int) -> tuple[float, float, int]:
    """Shares of other classes' pictures answered `index` with its cue, and with another's; number of the first kind."""
    counted, own = (labels[moves.to] != index) & moves.usable, labels[moves.given] == index
    said = (answers == index).double()
    first, second = counted & own, counted & ~own
    return float(said[first].mean()), float(said[second].mean()), int(first.sum())
