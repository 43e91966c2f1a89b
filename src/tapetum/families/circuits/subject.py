"""What a circuit is of: a score on some images, the groups of nodes before it, and what ablated nodes are replaced by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from tapetum.engines.batching import batch_size, fitting
from tapetum.engines.circuits.ablation import Replacement, replacements
from tapetum.engines.circuits.flow import Flow
from tapetum.engines.circuits.groups import NodeGroup
from tapetum.engines.circuits.passes import Outside, followed, read_with, score_with
from tapetum.engines.circuits.wires import Wires, reading, wires
from tapetum.engines.scores import ModelScore
from tapetum.models.vision_model import VisionModel
from tapetum.types import MethodError
from tapetum.types.circuits import Ablation, CircuitNode, Measure

COPIES = 5
"""How often an output is kept, for all images: as it is, in the recorded pass, its two slopes, and for other passes."""


@dataclass(frozen=True)
class Node:
    """One node: its group and its number there."""

    group: NodeGroup
    index: int

    def __str__(self) -> str:
        return str(CircuitNode(self.group.layer, self.group.kind, self.index))

    def part(self, values: Tensor) -> Tensor:
        """Returns the node's share of its group's output."""
        axis = self.group.axis
        if axis is None:
            return values
        if axis == 0:
            return values[self.index :: self.group.count]
        return values.narrow(axis, self.index, 1)

    def with_part(self, values: Tensor, part: Tensor) -> Tensor:
        """Returns its group's output with the node's share replaced."""
        axis = self.group.axis
        if axis is None:
            return part
        changed = values.clone()
        if axis == 0:
            changed[self.index :: self.group.count] = part
        else:
            changed.narrow(axis, self.index, 1).copy_(part)
        return changed


Edge: TypeAlias = tuple[Node, Node | None]
"""Sender and receiver; None is the score."""


@dataclass(eq=False)
class Chunk:
    """Some of the images: their clean outputs, the recorded passes, and what ablated nodes are replaced by.

    value   their scores (n,), of the network as it is
    flow    record of an ordinary pass
    direct  pass that is cut at every group; along all paths for expanded weights
    slopes  d score / d output of every group, along all paths
    would   the same with activation functions taken as the identity: where the score would listen
    """

    score: ModelScore
    images: Tensor
    rows: Sequence[int]
    clean: Mapping[NodeGroup, Tensor]
    value: Tensor
    flow: Flow
    direct: Wires
    slopes: Mapping[NodeGroup, Tensor]
    would: Mapping[NodeGroup, Tensor]
    instead: Mapping[Ablation, Replacement]

    @property
    def n(self) -> int:
        return len(self.rows)

    def score_with(self, given: Mapping[NodeGroup, Tensor]) -> Tensor:
        """Returns the score (n,) where these groups have these outputs."""
        return score_with(self.score, self.images, Outside(given, self.flow))

    def read_with(self, group: NodeGroup, given: Mapping[NodeGroup, Tensor]) -> Tensor:
        """Returns what a group becomes where these groups have these outputs."""
        return read_with(self.score.model, self.images, [group], Outside(given, self.flow), self.score.rows)[group]


@dataclass(eq=False)
class Subject:
    """Score and images of a circuit, with all that is measured once.

    groups    groups of nodes that run before the score is known, in order
    ablation  what replaces a node that is taken away
    """

    model: VisionModel
    groups: tuple[NodeGroup, ...]
    measure: Measure
    ablation: Ablation
    chunks: list[Chunk]

    @property
    def n(self) -> int:
        return sum(chunk.n for chunk in self.chunks)

    @property
    def linear(self) -> bool:
        return self.measure in ("weights", "expanded")

    # --- how nodes are read, and what they do to each other

    def weights(self, chunk: Chunk, node: Node) -> Tensor:
        """Weights with which a receiver's output is read as one number per image when it is patched."""
        return reading(node.group, node.index, (chunk.slopes[node.group], chunk.would[node.group]), chunk.n)

    def listening(self, node: Node | None) -> float:
        """How much the score changes when a node, read by `weights`, changes by one: the mean of sum |d score / d output|."""
        if node is None:
            return 1.0
        sums = [(c.would if self.linear else c.slopes)[node.group].abs() for c in self.chunks]
        tables = [node.group.by_node(one, c.n)[:, node.index].sum(1) for one, c in zip(sums, self.chunks, strict=True)]
        return float(torch.cat(tables).mean())

    def effects(self, node: Node | None) -> dict[NodeGroup, Tensor]:
        """Direct effects {group: (n, nodes)} of all earlier nodes on a node, or on the score, by the gradient or the weights.

        Gradient: sum of slope x (output - replacement). Weights: the sum of the magnitudes of the slopes, with the sign of
        their sum; for heads and MLPs sum of slope x (output - replacement).
        """
        parts = [self._effects(chunk, node) for chunk in self.chunks]
        return {group: torch.cat([one[group] for one in parts]) for group in parts[0]}

    def _effects(self, chunk: Chunk, node: Node | None) -> dict[NodeGroup, Tensor]:
        group = None if node is None else node.group
        seed = torch.ones_like(chunk.value) if node is None else self._seed(chunk, node)
        instead = chunk.instead[self.ablation].values
        before = [one for one in self.groups if group is None or one.step < group.step]
        found = {one: torch.zeros(chunk.n, one.count) for one in before}
        for sender, slope in chunk.direct.slopes(group, seed).items():
            if self.linear and sender.kind == "channel":
                each = sender.by_node(slope, chunk.n)
                found[sender] = each.abs().sum(2) * each.sum(2).sign()
            else:
                found[sender] = sender.by_node(slope * (chunk.clean[sender] - instead[sender]), chunk.n).sum(2)
        return {sender: one.detach().double().cpu() for sender, one in found.items()}

    def _seed(self, chunk: Chunk, node: Node) -> Tensor:
        """Weights with which a receiver's output is read for slopes; those of a kernel are read at one place."""
        if self.linear and node.group.kind == "channel":
            return _centre(node, chunk.slopes[node.group])
        return self.weights(chunk, node)

    def patched(self, sender: Node, receiver: Node | None) -> Tensor:
        """Effect (n,) of taking the sender away from the receiver alone: its value minus the value without the sender.

        All other nodes between them stay as they are.
        """
        return torch.cat([self._patched(chunk, sender, receiver) for chunk in self.chunks]).double().cpu()

    def _patched(self, chunk: Chunk, sender: Node, receiver: Node | None) -> Tensor:
        end = None if receiver is None else receiver.group
        given = {group: one for group, one in chunk.clean.items() if end is None or group.step < end.step}
        instead = chunk.instead[self.ablation].values[sender.group]
        given[sender.group] = sender.with_part(chunk.clean[sender.group], sender.part(instead))
        if receiver is None:
            return chunk.value - chunk.score_with(given)
        made = chunk.read_with(receiver.group, given)
        change = (chunk.clean[receiver.group] - made) * self.weights(chunk, receiver)
        return receiver.group.by_node(change, chunk.n).sum((1, 2))

    # --- the whole score

    @cached_property
    def full(self) -> Tensor:
        """Score (n,) of the network as it is."""
        return torch.cat([chunk.value for chunk in self.chunks]).double().cpu()


def _centre(node: Node, slope: Tensor) -> Tensor:
    """Weights that read one channel at the middle place of its map, whose kernel no border cuts."""
    only = torch.zeros_like(slope)
    axis = (node.group.axis or 0) % slope.ndim
    at: list[int | slice] = [size // 2 for size in slope.shape]
    at[0], at[axis] = slice(None), node.index
    only[tuple(at)] = 1
    return only


def subject(
    score: ModelScore,
    images: Tensor,
    groups: Sequence[NodeGroup],
    *,
    measure: Measure,
    ablation: Ablation,
    reference: Tensor | None,
    seed: int,
) -> Subject:
    """Runs and records the passes that all measurements of a circuit share."""
    model, n = score.model, len(images)
    _check_memory(model, n)
    others = images if reference is None else reference
    size = batch_size(model, "auto", gradients=True, n=max(n, len(others)))
    kept = _outputs(model, others, groups, size)
    donors = _donors(n, len(others), reference is None, seed)
    chunks: list[Chunk] = []
    for start in range(0, n, size):
        rows = range(start, min(start + size, n))
        part, some = score.take(rows), images[start : rows[-1] + 1]
        clean, flow = followed(part, some, groups)
        linear = wires(part, some, groups, cut=False, linear=clean)
        would = _slopes(linear, clean)
        slopes = _slopes(wires(part, some, groups, cut=False), clean)
        weights = measure in ("weights", "expanded")
        direct = linear if measure == "expanded" else wires(part, some, groups, linear=clean if weights else None)
        kinds: tuple[Ablation, ...] = ("zero", "mean", "resample") if len(others) > 1 else ("zero", "mean")
        instead: dict[Ablation, Replacement] = {
            kind: replacements(kind, clean, kept, donors[start : rows[-1] + 1], len(rows)) for kind in kinds
        }
        value = score_with(part, some, Outside(clean, flow)).detach()
        chunks.append(Chunk(part, some, rows, clean, value, flow, direct, slopes, would, instead))
    return Subject(model, tuple(groups), measure, ablation, chunks)


def _slopes(through: Wires, clean: Mapping[NodeGroup, Tensor]) -> dict[NodeGroup, Tensor]:
    """Returns d score / d output of every group along all paths, zero where there are none."""
    found = through.slopes(None, torch.ones_like(through.value))
    return {group: found[group] if group in found else torch.zeros_like(one) for group, one in clean.items()}


def _outputs(model: VisionModel, images: Tensor, groups: Sequence[NodeGroup], size: int) -> dict[NodeGroup, Tensor]:
    parts = [
        read_with(model, images[start : start + size], groups, Outside({}), range(start, min(start + size, len(images))))
        for start in range(0, len(images), size)
    ]
    return {group: torch.cat([one[group] for one in parts]) for group in groups}


def _donors(n: int, m: int, same: bool, seed: int) -> list[int]:
    """Returns for each of n images a reference image of m; if they are the same images, another one."""
    generator = torch.Generator().manual_seed(seed)
    if same and m > 1:
        shift = 1 + int(torch.randint(m - 1, (), generator=generator))
        return [(row + shift) % m for row in range(n)]
    return torch.randint(m, (n,), generator=generator).tolist()


def _check_memory(model: VisionModel, n: int) -> None:
    fits = fitting(model, COPIES)
    if n > fits:
        works = f"give at most {fits}" if fits else "use a smaller network, or free memory"
        raise MethodError(f"{n} images do not fit into memory, since the outputs of all layers are kept: {works}")
