"""Grows a circuit backwards from the score: the strongest edge first, then the edges into its sender, and so on."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tapetum.engines.circuits.groups import NodeGroup
from tapetum.families.circuits.subject import Edge, Node, Subject
from tapetum.progress import report

TINY = 1e-6
"""Effects below this share of a receiver's largest are rounding errors."""

RIVALS = 50
"""Candidates into one node among which stability is measured."""

TRIED = 2
"""Candidates per edge that patching measures: those with the largest effects by the gradient."""


@dataclass(frozen=True, eq=False)
class Wire:
    """One edge, measured: its effect (n,) on the receiver, and how much of that arrives at the score.

    weight      mean effect on the receiver, in its units
    importance  weight x how much the score listens to the receiver, in units of the score; for weights, its share of all
                weights into the receiver, times the receiver's own
    """

    source: Node
    target: Node | None
    effect: Tensor
    importance: float

    @property
    def weight(self) -> float:
        return float(self.effect.mean())


@dataclass(eq=False)
class Grown:
    """Edges in the order in which they were taken.

    tables  {receiver: {group: (n, nodes)}} effects of all senders by the gradient or the weights
    tried   {receiver: effects of the senders that were patched}
    """

    wires: list[Wire] = field(default_factory=list)
    tables: dict[Node | None, dict[NodeGroup, Tensor]] = field(default_factory=dict)
    tried: dict[Node | None, list[tuple[Node, Tensor]]] = field(default_factory=dict)

    @property
    def edges(self) -> list[Edge]:
        return [(wire.source, wire.target) for wire in self.wires]

    def into(self, receiver: Node | None) -> list[Node]:
        """Returns the senders of the edges into a node."""
        return [wire.source for wire in self.wires if wire.target == receiver]

    def rivals(self, receiver: Node | None) -> tuple[list[Node], Tensor]:
        """Returns the strongest candidates for edges into a node, and their effects (n, candidates)."""
        tables = self.tables[receiver]
        found = self.tried.get(receiver) or [(one, tables[one.group][:, one.index]) for one in strongest(tables, RIVALS)]
        return [node for node, _ in found], torch.stack([effect for _, effect in found], 1)


def grow(subject: Subject, edges: int, fan_in: int) -> Grown:
    """Returns at most `edges` edges, at most `fan_in` into one node, the most important first."""
    grown, count = Grown(), itertools.count()
    waiting: list[tuple[float, int, Wire]] = []

    def expand(receiver: Node | None, share: float) -> None:
        for wire in _into(subject, receiver, fan_in, grown, share):
            heapq.heappush(waiting, (-abs(wire.importance), next(count), wire))

    report(0, edges, "edges")
    expand(None, 1.0)
    while waiting and len(grown.wires) < edges:
        wire = heapq.heappop(waiting)[2]
        grown.wires.append(wire)
        report(len(grown.wires), edges, "edges")
        if wire.source not in grown.tables and wire.source.group is not subject.groups[0]:
            expand(wire.source, abs(wire.importance))
    return grown


def _into(subject: Subject, receiver: Node | None, fan_in: int, grown: Grown, share: float) -> list[Wire]:
    """Measures the strongest edges into a node whose own strongest edge has the importance `share`."""
    tables = grown.tables[receiver] = subject.effects(receiver)
    listening = _shared(tables, share) if subject.linear else subject.listening(receiver)
    patching = subject.measure == "patching"
    found = [(node, tables[node.group][:, node.index]) for node in strongest(tables, TRIED * fan_in if patching else fan_in)]
    if patching:
        grown.tried[receiver] = found = [(node, subject.patched(node, receiver)) for node, _ in found]
        found = [one for one in sorted(found, key=lambda one: -abs(float(one[1].mean()))) if bool(one[1].any())][:fan_in]
    return [Wire(node, receiver, effect, float(effect.mean()) * listening) for node, effect in found]


def _shared(tables: dict[NodeGroup, Tensor], share: float) -> float:
    """Returns the factor that turns weights into shares of all weights into a node, times the share of the node itself."""
    total = sum(float(one.mean(0).abs().sum()) for one in tables.values())
    return share / total if total else 0.0


def strongest(tables: dict[NodeGroup, Tensor], k: int) -> list[Node]:
    """Returns the k nodes with the largest mean effects, by magnitude; those of rounding errors are left out."""
    means = {group: one.mean(0) for group, one in tables.items()}
    largest = max((float(one.abs().max()) for one in means.values()), default=0.0)
    found = [
        (abs(value), Node(group, index))
        for group, one in means.items()
        for index, value in _top(one, k)
        if abs(value) > TINY * largest
    ]
    return [node for _, node in sorted(found, key=lambda one: (-one[0], one[1].group.step, one[1].index))[:k]]


def _top(values: Tensor, k: int) -> list[tuple[int, float]]:
    order = values.abs().topk(min(k, len(values))).indices
    return [(int(index), float(values[index])) for index in torch.sort(order).values]
