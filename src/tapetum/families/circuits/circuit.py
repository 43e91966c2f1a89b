"""`tp.circuit`: how a score, or a unit, is made from other units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tapetum.border.subjects import border
from tapetum.engines.circuits.groups import NodeGroup, counted, plan
from tapetum.engines.scores import ModelScore, as_score
from tapetum.families.circuits.growing import Grown, grow
from tapetum.families.circuits.judging import Judge, stability
from tapetum.families.circuits.looks import check_pictures, looked
from tapetum.families.circuits.subject import Node, Subject, subject
from tapetum.families.circuits.testing import faithfulness, tests
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note, noting
from tapetum.progress import stage
from tapetum.types import ImagesLike, LayerError, MethodError, ModelLike, TargetLike, Unit
from tapetum.types.circuits import Ablation, Circuit, CircuitEdge, CircuitNode, Measure


def circuit(
    model: ModelLike,
    target: TargetLike,
    images: ImagesLike,
    *,
    layers: str | Sequence[str] | None = None,
    edges: int = 50,
    measure: Measure = "patching",
    ablation: Ablation = "zero",
    reference: ImagesLike | None = None,
    fan_in: int = 6,
    test: bool = True,
    pictures: int | None = None,
    seed: int = 0,
) -> Circuit:
    """The circuit of a class or a unit: which nodes make its score, through which edges, each judged by taking it away.

    Nodes are channels of convolutions (after batch-norm, before the activation function), heads of attentions, and MLPs. An
    edge is the *direct* effect of one node on another one, along all paths that touch no third node: so a residual connection
    makes edges between layers that are far apart (olah2020zoom draws such circuits of a vision network from its weights). The
    circuit is grown backwards from the score, the strongest edge first. The weight of an edge is, by `measure`:

    patching   the target's value minus its value when the source alone is replaced (candidates: the largest by gradient)
    gradient   sum over places of slope x (output - replacement), the first-order estimate of patching (syed2023attribution)
    weights    the weights between two nodes, batch-norm included: sum of magnitudes over a kernel, with the sign of their sum
    expanded   the same along all paths, through the nodes between, with activation functions taken as the identity
               (voss2021visualizing)

    A node's value is one number per image. For a channel it is a weighted mean of its map, weights |d score / d output| / their
    sum: the mean of those in the network as it is and those with activation functions taken as the identity, so that places
    where a ReLU silences the channel count. For a head or an MLP it is the sum of output x d score / d output, divided by the
    sum of |d score / d output|.

    Whatever the measure, every edge is judged by patching: `confirmed` means that the effect has the sign of the weight, that
    its 95 % interval over images leaves out zero, and that it is larger than those of 19 random nodes with a path to the same
    target, which a random node is in at most 5 % of the cases. Where fewer than 19 others have a path it cannot be told, None.
    The circuit as a whole is run alone for a curve of faithfulness and three tests (after shi2024hypothesis).

    Refused: ablation mean or resample without a reference, units of several layers, a unit before which no node runs, and more
    images than fit into memory.

    Args:
        target: a class or any other target; a unit, "layer4.1:97"; None: what the network answers on each image.
        layers: names or globs of the layers whose channels, heads or MLPs are nodes; None: all convolutions, heads and MLPs.
        edges: largest number of edges, from 1 to 10,000.
        measure: patching, gradient, weights or expanded.
        ablation: replacement of a node that is taken away: zero, mean (over the reference images and places), or resample (its
            output on another image).
        reference: images for mean and resample, such as pictures of other classes; for zero, the curve of faithfulness alone
            uses them, or else the images themselves.
        fan_in: largest number of edges into one node, from 1 to 10,000.
        test: also run the circuit alone, for the curve of faithfulness and the three tests, which take most of the time.
        pictures: side, 16 to 512 px, of a feature visualisation of every channel in the circuit, for its page (`write`); None:
            none.
        seed: random seed of the comparisons by chance, and of the pictures.

    Example:
        >>> print(tp.circuit(model, "tabby", images, layers="blocks.*", edges=8))
    """
    with noting() as said, border(model, images) as (network, ready):
        _check(edges=edges, fan_in=fan_in)
        check_pictures(pictures)
        others = None if reference is None else network.as_images(reference)
        if ablation != "zero" and others is None:
            raise MethodError(
                f"ablation={ablation!r} replaces a node by its output on other images: give some, reference= (with the images "
                "themselves, a mean would take nothing away on average)"
            )
        score = as_score(network, ready, target)
        groups = _groups_before(network, score, layers)
        with stage("recording"):
            about = subject(score, ready, groups, measure=measure, ablation=ablation, reference=others, seed=seed)
        with stage("growing"):
            grown = grow(about, edges, fan_in)
        made = _finished(about, grown, _named(score, len(ready)), seed)
        looks = looked(about, _nodes(grown), network.denormalize(ready), pictures, seed)
        made = replace(made, looks=looks)
        if test and grown.wires:
            made = replace(made, faithfulness=faithfulness(about, grown, fan_in, seed), tests=tests(about, grown, seed))
        if not grown.wires:
            note("no node changes this score on these images: there is no circuit")
    return replace(made, notes=tuple(said))


def _check(**numbers: int) -> None:
    for name, number in numbers.items():
        if number != int(number) or not 1 <= number <= 10_000:
            raise MethodError(f"{name} must be a whole number from 1 to 10,000, not {number!r}")


def _groups_before(model: VisionModel, score: ModelScore, layers: str | Sequence[str] | None) -> list[NodeGroup]:
    """Returns the groups that run before the score is known: all for a class, those before its layer for a unit."""
    found = plan(model)
    groups = found.named(model, layers)
    units = {one.layer for one in score.explains(1) if isinstance(one, Unit)}
    if not units:
        return list(groups)
    if len(units) > 1:
        raise MethodError(f"a circuit is of units of one layer, not of units of {', '.join(sorted(units))}")
    end = found.step_of(model, units.pop())
    before = [group for group in groups if group.step < end]
    if not before:
        raise LayerError(f"none of these layers runs before the unit: {', '.join(dict.fromkeys(g.layer for g in groups))}")
    return before


def _named(score: ModelScore, n: int) -> str:
    names = dict.fromkeys(score.describe(n))
    return ", ".join(names) if len(names) <= 3 else "the answer to each image"


def _nodes(grown: Grown) -> list[Node]:
    """Returns the nodes of a circuit in the order in which they run."""
    return sorted({wire.source for wire in grown.wires}, key=lambda one: (one.group.step, one.index))


def _finished(about: Subject, grown: Grown, target: str, seed: int) -> Circuit:
    order = _nodes(grown)
    place: dict[Node | None, int] = {node: i for i, node in enumerate(order)} | {None: len(order)}
    with stage("judging"):
        judged = Judge(about, grown, seed).all()
    stable = stability(about, grown, seed)
    edges = [
        CircuitEdge(
            place[wire.source], place[wire.target], wire.weight, wire.importance, one.effect, (one.low, one.high), one.chance,
            one.confirmed, share,
        )
        for wire, one, share in zip(grown.wires, judged, stable, strict=True)
    ]  # fmt: skip
    nodes = [CircuitNode(one.group.layer, one.group.kind, one.index) for one in order]
    return Circuit(
        model=about.model.name,
        target=target,
        nodes=(*nodes, CircuitNode(target, "score")),
        edges=tuple(edges),
        measure=about.measure,
        ablation=about.ablation,
        groups=counted(about.groups),
        images=about.n,
    )
