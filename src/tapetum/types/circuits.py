"""Circuits: which nodes of a network make a score, through which edges, and how much of it they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from math import isnan
from pathlib import Path
from typing import Literal, TypeAlias

from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import Result, saved
from tapetum.types.targets import Unit
from tapetum.types.text import table

NodeKind: TypeAlias = Literal["channel", "head", "mlp"]
"""What a node is: a channel of a layer, a head of an attention, or a whole MLP of a transformer."""

Ablation: TypeAlias = Literal["zero", "mean", "resample"]
"""What replaces a node that is taken away: 0; its average over reference images and places; its output on another image."""

Measure: TypeAlias = Literal["patching", "gradient", "weights", "expanded"]
"""How the strength of an edge is measured."""

RIVALS = 19
"""Random nodes with which an edge's source is compared: an effect larger than all of theirs is one of at most 5 % by chance."""


@saved
@dataclass(frozen=True)
class CircuitNode:
    """A node of a circuit; the score itself is the last one, of kind "score".

    layer  name of its layer, or of the target
    kind   "channel", "head", "mlp" or "score"
    index  number of the channel or head
    """

    layer: str
    kind: Literal["channel", "head", "mlp", "score"]
    index: int = 0

    def __str__(self) -> str:
        names = {"channel": f"{self.layer}:{self.index}", "head": f"{self.layer} head {self.index}"}
        return names.get(self.kind, self.layer)

    @property
    def short(self) -> str:
        """Its name beside those of its layer: "5", "head 2", "MLP"; the score's is the target."""
        return {"channel": f"{self.index}", "head": f"head {self.index}", "mlp": "MLP", "score": self.layer}[self.kind]

    @property
    def unit(self) -> Unit | None:
        """The node as a unit, for `tp.visualize` and as a target; None for heads, MLPs and the score."""
        return Unit(self.layer, self.index) if self.kind == "channel" else None


@saved
@dataclass(frozen=True)
class CircuitEdge:
    """One edge of a circuit, from the node `source` to the node `target` (indices of `Circuit.nodes`).

    weight      effect of the source on the target, in the target's units; positive: excites, negative: inhibits
    importance  weight x how much the score changes per unit of the target, in units of the score; for measures by weights the
                share of all weights into the target, times the target's own importance
    patched     the same effect by activation patching: the target's value minus its value without the source
    interval    95 % interval of `patched` over the images
    chance      largest |patched| of 19 random nodes that have a path to the target; NaN where there are fewer others
    confirmed   whether `patched` has the sign of `weight`, its interval leaves 0 out, and |patched| is larger than `chance`:
                of random nodes at most 1 in 20 is so. None: it cannot be told, since the target has fewer than 19 other nodes
    stability   share of draws of the images in which the edge is among the strongest into its target; NaN for one image
    """

    source: int
    target: int
    weight: float
    importance: float
    patched: float
    interval: tuple[float, float]
    chance: float
    confirmed: bool | None
    stability: float


@dataclass(frozen=True, eq=False)
class CircuitCurve(Result):
    """What circuits of some edges keep of the score: 1 is the whole network, 0 the network without any node.

    kept = 1 - sum |circuit - network| / sum |nothing - network| over images; below 0 where a circuit is worse than nothing.

    edges      numbers of edges (s,)
    kept       {ablation: (s,)} of the circuit's strongest edges
    random     (r, s) of random circuits of the same size
    magnitude  (s,) of edges from the nodes with the largest outputs
    """

    edges: tuple[int, ...]
    kept: Mapping[str, Tensor]
    random: Tensor
    magnitude: Tensor


@saved
@dataclass(frozen=True)
class CircuitTest:
    """One of three tests of a circuit: its p-value, whether the circuit passes it at level .05, and what was seen.

    `passed` is None where there are too few images, or too few other edges, for the test to fail. True says that no fault was
    found, which on few images is weak evidence.

    equivalence   the circuit scores as the network does; p of the sign test, small where it does not
    independence  what the circuit leaves out says nothing of the score; p of the permutation test, small where it does
    minimality    every edge is needed; the largest p of its edges against random ones
    """

    name: str
    p_value: float
    passed: bool | None
    words: str

    @property
    def outcome(self) -> str:
        """The test's outcome in words: "holds", "fails" or "cannot be told"."""
        return "cannot be told" if self.passed is None else "holds" if self.passed else "fails"


@saved
@dataclass(frozen=True)
class CircuitExample:
    """Where a node answers one of the images most.

    node   number of the node in `Circuit.nodes`
    image  number of the image
    value  the channel's largest value on the image; for a head or an MLP the root mean square of its output
    window (top, left, bottom, right) in px of the image, ends excluded: the part of the image that is shown
    """

    node: int
    image: int
    value: float
    window: tuple[int, int, int, int]


@saved
@dataclass(frozen=True, eq=False)
class CircuitLooks:
    """What the nodes of a circuit look like: how they answer the images, where, and what they want to see.

    activations  (nodes, n) number of each node on each image: a channel's mean over places, the root mean square of a head's or
                 an MLP's output, and in the last row the score
    examples     up to four per node, the largest first
    crops        (examples, 3, h, w) pixels of the windows, all of one size, from 0 to 255
    drawn        numbers of the nodes with a feature visualisation
    pictures     (drawn, 3, side, side) pixels of these, from 0 to 255
    """

    activations: Tensor
    examples: tuple[CircuitExample, ...]
    crops: Tensor
    drawn: tuple[int, ...]
    pictures: Tensor


@dataclass(frozen=True, eq=False)
class Circuit(Result):
    """The nodes and edges that make a score, strongest edges first.

    model         name of the network
    target        the score, in words
    nodes         the nodes; the score is the last
    edges         the edges, in the order in which they were taken
    measure       how edges were measured
    ablation      what replaces a node that is taken away
    groups        what nodes there are to choose from, in words
    images        number of images
    faithfulness  how much of the score the strongest edges keep, beside random and magnitude edges; None if not asked for
    tests         equivalence, independence, minimality; empty if not asked for
    looks         how nodes answer the images, and pictures of them
    """

    model: str
    target: str
    nodes: tuple[CircuitNode, ...]
    edges: tuple[CircuitEdge, ...]
    measure: Measure
    ablation: Ablation
    groups: str
    images: int
    faithfulness: CircuitCurve | None = None
    tests: tuple[CircuitTest, ...] = ()
    looks: CircuitLooks | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def confirmed(self) -> float:
        """Share of edges that taking them away confirms, of those of which it can be told; NaN if it can of none."""
        told = [edge.confirmed for edge in self.edges if edge.confirmed is not None]
        return sum(told) / len(told) if told else float("nan")

    @property
    def confirmed_text(self) -> str:
        """How many edges are confirmed, and of how many that cannot be told: "9 of 10 edges confirmed"."""
        told = [edge.confirmed for edge in self.edges if edge.confirmed is not None]
        rest = len(self.edges) - len(told)
        if rest and not told:
            return f"of no edge it can be told whether it is confirmed: fewer than {RIVALS} other nodes reach the target"
        open_ones = f", {rest} cannot be told (fewer than {RIVALS} other nodes reach the target)" if rest else ""
        return f"{sum(told)} of {len(told)} edges confirmed{open_ones}"

    def into(self, node: int) -> tuple[CircuitEdge, ...]:
        """Returns the edges into a node, strongest first."""
        return tuple(edge for edge in self.edges if edge.target == node)

    def write(self, file: str | Path) -> Path:
        """Writes the circuit as one HTML page that opens offline, to click through and to group nodes; returns the file.

        `tapetum.reports` imports this package, so it is imported here at the first call.
        """
        return import_module("tapetum.reports.circuits").write_circuit(self, file)

    def __str__(self) -> str:
        head = ("from", "to", "weight", "taken away", "by chance", "confirmed", "stable")
        rows = [
            (
                str(self.nodes[one.source]), str(self.nodes[one.target]), f"{one.weight:+.3g}",
                f"{one.patched:+.3g} ({one.interval[0]:.2g} to {one.interval[1]:.2g})",
                "" if isnan(one.chance) else f"{one.chance:.2g}",
                {True: "yes", False: "no", None: "?"}[one.confirmed], "" if isnan(one.stability) else f"{one.stability:.0%}",
            )
            for one in self.edges
        ]  # fmt: skip
        said = f"{self.model}: circuit of {self.target}, {len(self.edges)} edges by {self.measure}, of {self.groups}"
        return "\n".join([said, table(head, rows), self.confirmed_text, *self._rest()])

    def _rest(self) -> list[str]:
        lines = [f"{one.name}: {one.outcome} (p = {one.p_value:.2g}), {one.words}" for one in self.tests]
        if self.faithfulness is not None:
            found = self.faithfulness
            kept = ", ".join(f"{kind} {float(one[-1]):.0%}" for kind, one in found.kept.items())
            beside = f"random edges {float(found.random[:, -1].mean()):.0%}, largest outputs {float(found.magnitude[-1]):.0%}"
            lines.append(f"share of the score that the {found.edges[-1]} edges keep: {kept}; {beside}")
        return [*lines, *self.notes]


@dataclass(frozen=True, eq=False)
class ExpandedWeights(Result):
    """The kernels through which a unit hears the channels of an earlier layer, with all between them taken as linear.

    weights  (c, h, w) change of the unit's value by each place of each channel, per unit of its value
    begins   (row, column) of the kernels' first place in the source's map; the unit is at its position
    """

    model: str
    source: str
    unit: Unit
    weights: Tensor
    begins: tuple[int, int]
    notes: tuple[str, ...] = ()

    @property
    def strength(self) -> Tensor:
        """Sum of magnitudes of each channel's kernel (c,), with the sign of its sum."""
        flat = self.weights.flatten(1)
        return flat.abs().sum(1) * flat.sum(1).sign()

    def strongest(self, k: int = 10) -> list[int]:
        """Returns the k channels with the largest kernels, by the sum of magnitudes."""
        return listed(self.weights.abs().sum((1, 2)).argsort(descending=True, stable=True)[:k])

    def __str__(self) -> str:
        _, h, w = self.weights.shape
        rows = [
            (str(c), f"{float(self.weights[c].sum()):+.3g}", f"{float(self.weights[c].abs().sum()):.3g}")
            for c in self.strongest()
        ]
        head = f"{self.model}: weights from {self.source} to {self.unit}, kernels of {h} x {w}"
        return "\n".join([head, table(("channel", "sum", "sum of magnitudes"), rows), *self.notes])


@saved
@dataclass(frozen=True, eq=False)
class CircuitTruth:
    """The circuit that a network is known to have.

    kind       of the network
    seed       of its weights and pictures
    images     pictures (n, c, h, w) on which the circuit is at work
    reference  pictures on which it is not, for mean and resample ablation
    edges      (source, target, sign) with the names of nodes, as `str` writes them
    """

    kind: str
    seed: int
    images: Tensor
    reference: Tensor
    edges: tuple[tuple[str, str, int], ...]

    def compare(self, found: Circuit) -> tuple[float, float]:
        """Returns precision and recall of a circuit's edges: an edge is right if source, target and sign are."""
        names = list(map(str, found.nodes))
        known = {(names[one.source], names[one.target], 1 if one.weight > 0 else -1) for one in found.edges}
        right = len(known & set(self.edges))
        return right / max(len(known), 1), right / len(self.edges)
