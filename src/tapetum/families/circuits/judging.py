"""Judges edges by taking them away, beside random edges into the same node, and asks how stable they are over images."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan
from typing import NamedTuple

import torch
from torch import Tensor

from tapetum.engines.circuits.groups import NodeGroup
from tapetum.engines.ranks import mean_interval
from tapetum.families.circuits.growing import Grown, Wire
from tapetum.families.circuits.subject import Edge, Node, Subject
from tapetum.progress import track
from tapetum.types.circuits import RIVALS

DRAWS = 500
"""Draws of the images for intervals and stability."""


class Judgement(NamedTuple):
    """What taking an edge away shows: its effect with a 95 % interval, the largest of random edges, and whether it counts.

    chance is NaN and confirmed None where the target has too few other nodes to compare with.
    """

    effect: float
    low: float
    high: float
    chance: float
    confirmed: bool | None


@dataclass(eq=False)
class Judge:
    """Takes edges away, one at a time, and keeps what random edges into each node do."""

    subject: Subject
    grown: Grown
    seed: int

    def __post_init__(self) -> None:
        self._chance: dict[Node | None, float] = {}
        self._draws = draws_of(self.subject.n, self.seed)

    def all(self) -> list[Judgement]:
        wires = self.grown.wires
        return [self(wire) for wire in track(wires, len(wires), "edges judged")]

    def __call__(self, wire: Wire, *, patch: bool = False) -> Judgement:
        known = self.subject.measure == "patching" and not patch
        effect = wire.effect if known else self.subject.patched(wire.source, wire.target)
        low, high = mean_interval(effect, self._draws)
        mean, chance = float(effect.mean()), self.chance(wire.target)
        sure = low > 0 or high < 0 if self.subject.n > 1 else mean != 0
        fits = sure and mean * wire.weight > 0
        return Judgement(mean, low, high, chance, None if fits and isnan(chance) else fits and abs(mean) > chance)

    def random(self, count: int) -> list[bool]:
        """Judges random edges by the same rule, each with the sign of its gradient, into the nodes of the circuit in turn.

        Edges of which nothing can be said are left out.
        """
        found: list[bool] = []
        for source, receiver in random_edges(self.grown, count, self.seed + 1):
            effect = self.grown.tables[receiver][source.group][:, source.index]
            confirmed = self(Wire(source, receiver, effect, 0.0), patch=True).confirmed
            found += [] if confirmed is None else [confirmed]
        return found

    def chance(self, receiver: Node | None) -> float:
        """Returns the largest mean effect, by magnitude, of random nodes with a path to the receiver; NaN if too few do."""
        if receiver not in self._chance:
            nodes = random_senders(self.grown.tables[receiver], RIVALS, set(self.grown.into(receiver)), self.seed)
            told = len(nodes) == RIVALS
            effects = [abs(float(self.subject.patched(one, receiver).mean())) for one in nodes] if told else [nan]
            self._chance[receiver] = max(effects)
        return self._chance[receiver]


def random_senders(tables: dict[NodeGroup, Tensor], k: int, taken: set[Node], seed: int) -> list[Node]:
    """Draws k nodes of groups from which some node reaches the receiver, none of them in `taken`."""
    reach = [group for group, one in tables.items() if bool(one.any())]
    ends = torch.tensor([0, *(group.count for group in reach)]).cumsum(0).tolist()
    order = torch.randperm(ends[-1], generator=torch.Generator().manual_seed(seed))[: k + len(taken)].tolist()
    found = [next(Node(g, i - start) for g, start in zip(reach, ends, strict=False) if i < start + g.count) for i in order]
    return [node for node in found if node not in taken][:k]


def random_edges(grown: Grown, count: int, seed: int) -> list[Edge]:
    """Draws up to `count` different edges that the circuit does not have, into its nodes in turn."""
    waiting = list(dict.fromkeys(wire.target for wire in grown.wires))
    found: list[Edge] = []
    while waiting and len(found) < count:
        receiver = waiting.pop(0)
        taken = {*grown.into(receiver), *(source for source, target in found if target == receiver)}
        for source in random_senders(grown.tables[receiver], 1, taken, seed + len(found)):
            found.append((source, receiver))
            waiting.append(receiver)
    return found


def draws_of(n: int, seed: int) -> Tensor:
    """Returns indices (DRAWS, n) that draw n images with replacement."""
    return torch.randint(n, (DRAWS, n), generator=torch.Generator().manual_seed(seed))


def stability(subject: Subject, grown: Grown, seed: int) -> list[float]:
    """Returns for each edge the share of draws of the images in which it is among the strongest into its node.

    As many count as strongest as the circuit has edges into that node. NaN for one image.
    """
    if subject.n < 2:
        return [float("nan")] * len(grown.wires)
    draws = draws_of(subject.n, seed)
    found: dict[tuple[Node, Node | None], float] = {}
    for receiver in {wire.target for wire in grown.wires}:
        own = grown.into(receiver)
        nodes, effects = grown.rivals(receiver)
        strong = effects[draws].mean(1).abs()  # (draws, candidates)
        best = strong.topk(min(len(own), len(nodes)), 1).indices
        shares = torch.zeros(len(nodes)).scatter_add_(0, best.flatten(), torch.ones(best.numel())) / len(draws)
        found |= {(node, receiver): float(share) for node, share in zip(nodes, shares, strict=True)}
    return [found[wire.source, wire.target] for wire in grown.wires]
