"""The fewest units of a layer whose clean values bring an attacked answer back: a greedy search, made minimal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tapetum.border.sentences import MapLayers
from tapetum.border.subjects import border
from tapetum.engines.batching import batch_size
from tapetum.engines.resume import Tail, resume
from tapetum.engines.scores import ModelScore
from tapetum.engines.scores.base import TargetScore, one_each
from tapetum.families.attacks.classes import Classes
from tapetum.families.attacks.disturbance import attacked_pixels
from tapetum.families.attacks.problem import Problem, followed, posed
from tapetum.families.depth.layers import named_or_five
from tapetum.notes import note, noting
from tapetum.progress import track
from tapetum.types import Attack, ImagesLike, MethodError, ModelLike, ShortestRepair

PACE = 0.25
"""Share of the missing margin that the channels of one step promise to first order; smaller steps cost more passes."""


@dataclass(frozen=True, eq=False)
class Margin(TargetScore):
    """log p(own class) - the largest log p of any other, (n,): above 0 where the answer is the own class."""

    classes: Classes

    def read(self, output: Any) -> Tensor:
        """Returns the margin (n,) of each image, read from the model's output."""
        logs = self.classes.log_probability(output)
        one_each(self.targets, len(logs))
        own = torch.tensor(self.targets, device=logs.device)[:, None]
        return logs.gather(1, own)[:, 0] - logs.scatter(1, own, -torch.inf).amax(1)


def shortest_repair(
    model: ModelLike,
    images: ImagesLike,
    attacked: Attack | ImagesLike,
    *,
    layers: MapLayers = None,
    tries: int = 8,
    draws: int = 20,
    seed: int = 0,
) -> ShortestRepair:
    """The fewest units, channels of one layer, whose clean values bring back the answer of the clean picture.

    In a pass of the attacked picture, some channels of the layer get the values that they have on the clean one. Greedily:
    channels with the largest gain to first order, sum_places g (a - a'), of the margin log p(own) - max log p(other) are added
    until it is above 0; far from it several at once, which promise a quarter of what is missing, near it the best of `tries`.
    Then minimal: channels are dropped, the most dispensable first, as long as the answer stays. No channel of the set is
    dispensable then, though another set may be smaller. The control asks how many random sets of as many channels bring the
    answer back.

    Args:
        attacked: an `Attack` of these images, or the attacked images, as `images`.
        tries: channels that are tried one by one where one is enough.
        draws: random sets per image and layer.
        seed: random seed of the sets.

    Example:
        >>> print(tp.shortest_repair(model, images, tp.fgsm(model, images, eps="32/255")))
    """
    with noting() as said, border(model, images) as (network, ready):
        for name, number in (("tries", tries), ("draws", draws)):
            if number != int(number) or not 1 <= number <= 100_000:
                raise MethodError(f"{name} must be a whole number from 1 to 100,000, not {number:g}")
        problem = posed(network, ready, None)
        there = attacked_pixels(network, problem.clean, attacked)
        made = _repaired(problem, there, named_or_five(network, layers), _Search(int(tries), int(draws), seed))
    return replace(made, notes=tuple(said))


@dataclass(frozen=True)
class _Search:
    """Settings of the search: channels tried at each step, random sets, their seed."""

    tries: int
    draws: int
    seed: int


def _repaired(problem: Problem, there: Tensor, layers: Sequence[str], search: _Search) -> ShortestRepair:
    n, model = len(there), problem.model
    own = tuple(problem.own.tolist())
    score = Margin(model, own, problem.classes, rows=tuple(range(n)))
    after = problem.judge(there).logs.argmax(1)
    units: list[list[tuple[int, ...]]] = [[() for _ in layers] for _ in range(n)]
    counts, random = torch.zeros(n, len(layers), dtype=torch.long), torch.full((n, len(layers)), torch.nan, dtype=torch.float64)
    jobs = [(row, i) for row in range(n) if int(after[row]) != own[row] for i in range(len(layers))]
    if len({row for row, _ in jobs}) < n:
        note(f"{n - len({row for row, _ in jobs})} of {n} images have their answer still: there is nothing to repair")
    for row, i in track(jobs, len(jobs), "layers of images"):
        found = _Patching.at(
            score.take([row]), layers[i], *(problem.ready(one[row : row + 1]) for one in (problem.clean, there))
        )
        units[row][i] = found.minimal(found.greedy(search.tries))
        counts[row, i] = len(units[row][i]) or -1
        if units[row][i]:
            random[row, i] = found.by_chance(len(units[row][i]), search.draws, search.seed)
    return ShortestRepair(
        model=model.name,
        layers=tuple(layers),
        channels=tuple(int(model.survey[name].channels or 0) for name in layers),
        counts=counts,
        units=tuple(map(tuple, units)),
        random=random,
        answers=problem.classes.names(problem.own),
        attacked=problem.classes.names(after),
    )


@dataclass(frozen=True, eq=False)
class _Patching:
    """Margins of one attacked image with some channels (k, c) of a layer as on the clean image."""

    tail: Tail
    clean: Tensor
    size: int

    @classmethod
    def at(cls, score: ModelScore, layer: str, clean: Tensor, attacked: Tensor) -> _Patching:
        wanted = resume(score, layer, clean).activation
        return cls(resume(score, layer, attacked), wanted, batch_size(score.model, "auto"))

    @property
    def channels(self) -> int:
        return self.clean.shape[1]

    def margins(self, chosen: Tensor) -> Tensor:
        """Returns the margin (k,) with each set of channels (k, c), True where patched."""
        with torch.no_grad():
            return torch.cat([self.tail(self._patched(some)) for some in chosen.split(self.size)])

    def _patched(self, chosen: Tensor) -> Tensor:
        return torch.where(chosen[:, :, None, None], self.clean, self.tail.activation)

    def _gains(self, chosen: Tensor) -> Tensor:
        """Returns the gain of the margin (c,) by patching each channel, to first order; -inf for patched ones."""
        with torch.enable_grad():
            leaf = self._patched(chosen[None]).detach().requires_grad_()
            slope = followed(self.tail.score.model, self.tail(leaf.clone()), leaf)
        gains = (slope * (self.clean - self.tail.activation)).sum((0, 2, 3))
        return gains.masked_fill(chosen, -torch.inf)

    def greedy(self, tries: int) -> list[int]:
        """Returns channels in the order in which they are added until the answer is back; [] where all do not bring it back."""
        chosen = torch.zeros(self.channels, dtype=torch.bool, device=self.clean.device)
        margin, whole = self.margins(torch.stack([chosen, ~chosen])).tolist()
        found: list[int] = []
        while whole > 0 >= margin and len(found) < self.channels:
            more, margin = self._next(chosen, -margin, tries)
            found += more
            chosen[more] = True
        return found

    def _next(self, chosen: Tensor, missing: float, tries: int) -> tuple[list[int], float]:
        """Returns the channels to add next, and the margin with them.

        While far from the aim, these are the first that together promise `PACE` of what is missing; else the best one.
        """
        gains = self._gains(chosen)
        order = gains.argsort(descending=True)[: int((~chosen).sum())]
        promised = gains[order].cumsum(0) < PACE * missing
        several = min(int(promised.sum()) + 1, len(order))
        sets = [order[:several]] if several > 1 else list(order[:tries].split(1))
        tried = chosen.repeat(len(sets), 1)
        for row, one in enumerate(sets):
            tried[row, one] = True
        margins = self.margins(tried)
        k = int(margins.argmax())
        return sets[k].tolist(), float(margins[k])

    def minimal(self, found: list[int]) -> tuple[int, ...]:
        """Returns the channels without those that the answer can do without: none of them is dispensable in the end."""
        while len(found) > 1:
            without = self.margins(self._sets([[one for one in found if one != gone] for gone in found]))
            order = [i for i in without.argsort(descending=True).tolist() if float(without[i]) > 0]
            if not order:
                break
            gone = self._most_gone(found, order)
            found = [one for i, one in enumerate(found) if i not in gone]
        return tuple(found)

    def _most_gone(self, found: list[int], order: list[int]) -> set[int]:
        """Returns the places that are dropped: as many of the first in `order` as the answer can do without, by halving."""
        low, high = 1, min(len(order), len(found) - 1)
        while low < high:
            middle = (low + high + 1) // 2
            rest = [one for i, one in enumerate(found) if i not in order[:middle]]
            kept = float(self.margins(self._sets([rest]))) > 0
            low, high = (middle, high) if kept else (low, middle - 1)
        return set(order[:low])

    def by_chance(self, count: int, draws: int, seed: int) -> float:
        """Returns the share of random sets of `count` channels that bring the answer back."""
        generator = torch.Generator().manual_seed(seed)
        drawn = [torch.randperm(self.channels, generator=generator)[:count].tolist() for _ in range(draws)]
        return float((self.margins(self._sets(drawn)) > 0).double().mean())

    def _sets(self, many: Sequence[Sequence[int]]) -> Tensor:
        chosen = torch.zeros(len(many), self.channels, dtype=torch.bool)
        for row, one in enumerate(many):
            chosen[row, list(one)] = True
        return chosen.to(self.clean.device)
