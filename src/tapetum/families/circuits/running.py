"""Runs a circuit alone: every node hears its parents in the circuit, and of all other nodes what replaces them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tapetum.engines.circuits.groups import NodeGroup
from tapetum.engines.circuits.passes import Outside, read_with
from tapetum.families.circuits.subject import Chunk, Edge, Node, Subject
from tapetum.types.circuits import Ablation


@dataclass(frozen=True)
class Heard:
    """A node with all that it is computed from: two circuits in which these are equal give the node the same value.

    parents  None: the node has its value on the picture
    """

    node: Node
    parents: tuple[Heard, ...] | None


class Running:
    """Scores of circuits on the images of a subject; what circuits have in common is computed once.

    A node without an edge into it has its value on the picture. Any other node is computed from its parents alone: all other
    nodes before it are replaced. The image itself stays, along with what is computed from it without passing a node.
    """

    def __init__(self, subject: Subject, ablation: Ablation) -> None:
        self._subject = subject
        self.ablation: Ablation = ablation
        self._values: list[dict[Heard, Tensor]] = [{} for _ in subject.chunks]

    def score(self, edges: Collection[Edge], receivers: Collection[Node | None] = ()) -> Tensor:
        """Returns the score (n,) of the circuit with these edges.

        receivers: nodes that are computed also where no edge leads into them.
        """
        parents = {**{node: [] for node in receivers}, **_parents(edges)}
        parts = [self._score(i, chunk, parents) for i, chunk in enumerate(self._subject.chunks)]
        return torch.cat(parts).double().cpu()

    def _score(self, i: int, chunk: Chunk, parents: Mapping[Node | None, Sequence[Node]]) -> Tensor:
        values = self._values[i]
        keys: dict[Node, Heard] = {}
        for node in sorted({n for many in parents.values() for n in many}, key=lambda n: n.group.step):
            own = parents.get(node)
            keys[node] = Heard(node, None if own is None else tuple(keys[one] for one in own))
            if keys[node] not in values:
                values[keys[node]] = self._value(i, chunk, keys[node])
        given = self._heard(i, chunk, [keys[one] for one in parents.get(None, ())], self._subject.groups)
        return chunk.score_with(given)

    def _value(self, i: int, chunk: Chunk, heard: Heard) -> Tensor:
        node = heard.node
        if heard.parents is None:
            return node.part(chunk.clean[node.group])
        before = [group for group in self._subject.groups if group.step < node.group.step]
        given = self._heard(i, chunk, heard.parents, before)
        return node.part(chunk.read_with(node.group, given)).clone()

    def _heard(self, i: int, chunk: Chunk, keys: Sequence[Heard], groups: Sequence[NodeGroup]) -> dict[NodeGroup, Tensor]:
        """Returns the outputs of all groups for a receiver: its parents' values, everything else replaced."""
        given = dict(chunk.instead[self.ablation].values)
        for key in keys:
            group = key.node.group
            given[group] = key.node.with_part(given[group], self._values[i][key])
        return {group: given[group] for group in groups}

    def complement(self, edges: Collection[Edge]) -> Tensor:
        """Returns the score (n,) of all that the circuit leaves out: the network without the circuit's edges."""
        parents = _parents(edges)
        return torch.cat([self._complement(chunk, parents) for chunk in self._subject.chunks]).double().cpu()

    def _complement(self, chunk: Chunk, parents: Mapping[Node | None, Sequence[Node]]) -> Tensor:
        fixed: dict[NodeGroup, Tensor] = {}
        for group in sorted({one.group for one in parents if one is not None}, key=lambda one: one.step):
            here = [node for node in parents if node is not None and node.group is group]
            before = self._read(chunk, fixed, [one for one in self._subject.groups if one.step <= group.step])
            fixed[group] = before[group]
            for node in here:
                given = self._without(chunk, before, parents[node], group)
                fixed[group] = node.with_part(fixed[group], node.part(chunk.read_with(group, given)))
        everything = self._read(chunk, fixed, self._subject.groups)
        return chunk.score_with(self._without(chunk, everything, parents.get(None, ()), None))

    def _read(self, chunk: Chunk, fixed: Mapping[NodeGroup, Tensor], groups: Sequence[NodeGroup]) -> dict[NodeGroup, Tensor]:
        """Returns the outputs of groups in a pass in which some have fixed outputs."""
        asked = [group for group in groups if group not in fixed]
        outside = Outside(fixed)
        made = read_with(self._subject.model, chunk.images, asked, outside, chunk.score.rows) if asked else {}
        return {**made, **{group: one for group, one in fixed.items() if group in groups}}

    def _without(
        self, chunk: Chunk, outputs: Mapping[NodeGroup, Tensor], nodes: Sequence[Node], end: NodeGroup | None
    ) -> dict[NodeGroup, Tensor]:
        given = {group: one for group, one in outputs.items() if end is None or group.step < end.step}
        instead = chunk.instead[self.ablation].values
        for node in nodes:
            given[node.group] = node.with_part(given[node.group], node.part(instead[node.group]))
        return given


def _parents(edges: Collection[Edge]) -> dict[Node | None, list[Node]]:
    found: dict[Node | None, list[Node]] = defaultdict(list)
    for source, target in sorted(edges, key=lambda one: (one[0].group.step, one[0].index)):
        found[target].append(source)
    return dict(found)
