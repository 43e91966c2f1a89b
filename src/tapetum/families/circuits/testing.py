"""Asks of a circuit: how much of the score it makes, and whether it stands three tests."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tapetum.engines.circuits.groups import NodeGroup
from tapetum.engines.shares import sign_test
from tapetum.engines.similarity import ranks
from tapetum.families.circuits.growing import Grown
from tapetum.families.circuits.judging import random_edges, random_senders
from tapetum.families.circuits.running import Running
from tapetum.families.circuits.subject import Edge, Node, Subject
from tapetum.progress import stage, track
from tapetum.types.circuits import RIVALS, CircuitCurve, CircuitTest

LEVEL = 0.05
SAME = 0.01
"""Scores count as the same where they differ by less than this share of what all nodes together change."""

SHUFFLES = 999
FEWEST = 5
"""Images without which no correlation of ranks can be significant at this level: 2 of 5! orders are as extreme as the most."""

CIRCUITS = 3
"""Random circuits beside the one that was found."""


def faithfulness(subject: Subject, grown: Grown, fan_in: int, seed: int) -> CircuitCurve:
    """Scores circuits of the first 1, 2, 5, 10, ... edges, with every kind of ablation, beside random and magnitude edges."""
    sizes = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500) if k < len(grown.wires)] + [len(grown.wires)]
    edges, kinds = grown.edges, list(subject.chunks[0].instead)
    others = [_random_edges(subject, len(edges), seed + i) for i in range(CIRCUITS)]
    by_size = _magnitude_edges(subject, len(edges), fan_in)
    with stage("faithfulness"):
        kept = {
            kind: _kept(subject, Running(subject, kind), [edges[:k] for k in sizes])
            for kind in track(kinds, len(kinds), "ablations")
        }
        running = Running(subject, subject.ablation)
        random = [_kept(subject, running, [one[:k] for k in sizes]) for one in others]
        magnitude = _kept(subject, running, [by_size[:k] for k in sizes])
    return CircuitCurve(tuple(sizes), kept, torch.stack(random), magnitude)


def _kept(subject: Subject, running: Running, circuits: Sequence[Sequence[Edge]]) -> Tensor:
    """Returns what circuits keep of the score (k,): 1 - sum |circuit - network| / sum |nothing - network| over images."""
    lost = (running.score(()) - subject.full).abs().sum()
    away = torch.stack([(running.score(one) - subject.full).abs().sum() for one in circuits])
    return 1 - away / lost if float(lost) else torch.full_like(away, torch.nan)


# --- other circuits of the same size


def _random_edges(subject: Subject, count: int, seed: int) -> list[Edge]:
    """Grows a circuit of random edges, each into the score or into a node that is in the circuit already."""
    generator = torch.Generator().manual_seed(seed)
    inside: list[Node | None] = [None]
    edges: dict[Edge, None] = {}
    tables: dict[Node | None, dict[NodeGroup, Tensor]] = {}
    for i in range(4 * count):
        if len(edges) == count:
            break
        receiver = inside[int(torch.randint(len(inside), (), generator=generator))]
        if receiver not in tables:
            tables[receiver] = subject.effects(receiver)
        for source in random_senders(tables[receiver], 1, set(), seed + 7919 * (i + 1)):
            edges[source, receiver] = None
            if source not in inside:
                inside.append(source)
    return list(edges)


def _magnitude_edges(subject: Subject, count: int, fan_in: int) -> list[Edge]:
    """Grows a circuit of edges from the nodes with the largest outputs, level by level from the score."""
    sizes = _sizes(subject)
    edges: dict[Edge, None] = {}
    waiting: list[Node | None] = [None]
    seen: set[Node | None] = {None}
    while waiting and len(edges) < count:
        receiver = waiting.pop(0)
        tables = subject.effects(receiver)
        reach = [Node(group, i) for group, one in tables.items() if bool(one.any()) for i in range(group.count)]
        for source in sorted(reach, key=lambda one: -float(sizes[one.group][one.index]))[:fan_in]:
            edges[source, receiver] = None
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return list(edges)[:count]


def _sizes(subject: Subject) -> dict[NodeGroup, Tensor]:
    """Returns {group: (nodes,)} mean magnitudes of the nodes' outputs, relative to what replaces them."""
    found: dict[NodeGroup, Tensor] = {}
    for group in subject.groups:
        parts = [
            group.by_node((c.clean[group] - c.instead[subject.ablation].values[group]).abs(), c.n).mean(2)
            for c in subject.chunks
        ]
        found[group] = torch.cat(parts).mean(0).cpu()
    return found


# --- three tests


def tests(subject: Subject, grown: Grown, seed: int) -> tuple[CircuitTest, ...]:
    """Tests whether the circuit does what the network does, alone, and without an edge too many, at level .05.

    After shi2024hypothesis, with three differences. Equivalence: no tolerance of .1 about a half, and scores that differ by
    less than 1 % of what all nodes change count as equal. Independence: the rank correlation in place of HSIC. Minimality: an
    edge must change the score more than all of 19 random edges that are added one by one; the paper adds random paths and asks
    for more than nine tenths of them. On few images a test that finds no fault proves little: it could only find large ones.
    """
    running = Running(subject, subject.ablation)
    with stage("tests"):
        return (
            _equivalence(subject, running, grown.edges),
            _independence(subject, running, grown.edges, seed),
            _minimality(subject, running, grown, seed),
        )


def _equivalence(subject: Subject, running: Running, edges: Sequence[Edge]) -> CircuitTest:
    """Sign test: does the circuit score above the network as often as below?"""
    difference = running.score(edges) - subject.full
    near = SAME * float((running.score(()) - subject.full).abs().mean())
    above, below = int((difference > near).sum()), int((difference < -near).sum())
    n = above + below
    p = min(1.0, 2 * sign_test(max(above, below), n))
    words = f"the circuit scores above the network on {above} images, below on {below}, the same on {subject.n - n}"
    least = 2 / 2**n if n else 0.0
    return CircuitTest("equivalence", p, None if least > LEVEL else p > LEVEL, words)


def _independence(subject: Subject, running: Running, edges: Sequence[Edge], seed: int) -> CircuitTest:
    """Permutation test: does the score without the circuit's edges still follow the network's score over images?"""
    rest = running.complement(edges)
    spread = float((rest - rest.mean()).abs().max())
    if subject.n < FEWEST:
        return CircuitTest("independence", 1.0, None, f"it takes {FEWEST} images to tell")
    if spread <= 1e-6 * float(subject.full.abs().max()):
        return CircuitTest("independence", 1.0, True, "without the circuit's edges the score is the same on all images")
    a, b = (ranks(one[None])[0].double() for one in (rest, subject.full))
    a, b = a - a.mean(), b - b.mean()
    generator = torch.Generator().manual_seed(seed)
    own = abs(float(a @ b))
    others = [abs(float(a[torch.randperm(len(a), generator=generator)] @ b)) for _ in range(SHUFFLES)]
    p = (1 + sum(one >= own * (1 - 1e-9) for one in others)) / (1 + SHUFFLES)
    rho = float(a @ b / (a.norm() * b.norm())) if float(b.norm()) else 0.0
    words = f"the score without the circuit's edges has a rank correlation of {rho:.2f} with the network's"
    return CircuitTest("independence", p, p > LEVEL, words)


def _minimality(subject: Subject, running: Running, grown: Grown, seed: int) -> CircuitTest:
    """Compares the change by removing each edge with the changes by adding random edges: is each edge needed?"""
    edges = grown.edges
    whole = running.score(edges)
    receivers = {target for _, target in edges}
    changes = [
        float((running.score([one for one in edges if one != edge], receivers) - whole).abs().mean())
        for edge in track(edges, len(edges), "edges taken away")
    ]
    added = [float((running.score([*edges, one]) - whole).abs().mean()) for one in random_edges(grown, RIVALS, seed)]
    needed = sum(change > max(added, default=0.0) for change in changes)
    told = len(added) >= RIVALS
    worst = max((1 + sum(one >= change for one in added)) / (1 + len(added)) for change in changes) if changes else 1.0
    words = f"{needed} of {len(edges)} edges change the score more than each of {len(added)} random ones"
    return CircuitTest("minimality", worst, (needed == len(edges)) if told or needed < len(edges) else None, words)
