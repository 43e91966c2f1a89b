"""The audit: moves cues between pictures, tests whether the answers follow them, and says what was and was not found."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import Tensor

from tapetum.border.methods import survey
from tapetum.border.sentences import Seed
from tapetum.data.streams import Source
from tapetum.families.audits.clusters import clusters
from tapetum.families.audits.components import components
from tapetum.families.audits.cues import CUES, Move
from tapetum.families.audits.following import Followed, Moves, flips, followed, interval, pairs
from tapetum.families.audits.material import Material, material
from tapetum.families.audits.mistakes import mistakes
from tapetum.families.audits.pictures import BATCH, Audited, answers, read_pictures
from tapetum.families.audits.properties import properties_of
from tapetum.families.audits.twins import receipt_of
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import report, stage
from tapetum.types import Audit, Range, Suspicion

ROUNDS = 2
"""Number of times that every picture takes, and gives, each cue."""

SHOWN = 16
"""Number of pictures that a suspicion keeps, at most."""

BOTH_WAYS = 0.4
"""Share of an effect that the class's own pictures have to lose, at least, when another class gives the cue."""

CARRIED = ("tint", "sharpness")
"""Cues of the whole picture, which another cue brings with it."""

SURE = 50
"""Pictures of a class under which the audit says that little can be found."""


@survey(cite="degrave2021shortcuts", question="trust")
def audit(
    model: VisionModel,
    source: Source,
    *,
    masks: Any = None,
    twins: Annotated[int, Range(0, 200)] = 0,
    level: Annotated[float, Range(0.0001, 0.5)] = 0.05,
    n: Annotated[int, Range(16, 100_000)] | None = 500,
    seed: Seed = 0,
) -> Audit:
    """Which cues beside the object a classifier's answers follow, each shown by an experiment.

    Every picture takes a cue of another one, drawn without a look at classes: its background, corners, frame, the hue or the
    surface of its object, its colour cast, its sharpness. The effect of a cue towards class a is the mean change of p(a) on
    pictures of other classes where the cue comes from a picture of a, less where it comes from another class; of a place
    (corners, frame), less the same for an equal area elsewhere. `p_value` is the share of 2000 shuffles of the givers' classes
    in which the largest t over all cues and classes is as large. On pictures in which no cue goes with the class, a model is
    accused of anything at the rate `level`; where one does, the p-value is about edited pictures alone, which a model may
    answer oddly: confirm a finding on pictures that nobody edited. A suspicion has p <= `level` and an effect of at
    least its kind's bar: .04, for the object's surface .07, since an object's own surface speaks for its class by right.

    Backgrounds are plates laid from patches beside the object; the object is what stands out from a ring near the edge, unless
    masks are given. What goes with a class by nature (a banana's yellow, a ship's sea) is found too: whether it is a fault is
    for you to say. Cues of other kinds, or in other places, are not found.

    Args:
        masks: masks of the objects: (count, h, w) bool for all pictures of the source in their order, or a folder of
            pictures of the same names, white on the object; None: found by what stands out.
        twins: small networks that are trained in your setting, half of them with a planted cue, and audited blind.
        level: rate at which a model is accused by chance, on pictures in which no cue goes with the class.
        n: pictures, of each class equally many as far as there are; None: all.
        seed: random seed of the drawn pictures, of pairs, shuffles, resamples and twins.

    Example:
        >>> pictures = tp.planted("shapes", n=40, size=32, classes=("disc", "star"), shortcut="border")
        >>> print(tp.audit(tp.train(pictures, epochs=1).model, pictures))
    """
    read = read_pictures(model, source, n, masks, seed)
    if min(torch.bincount(read.labels)) < SURE:
        note(f"under {SURE} pictures of a class, only strong cues are found")
    found, asked = audited(model, read, level, seed)
    made = asked.made
    receipt = None
    if twins:
        receipt = receipt_of(model, read, made, masks is not None, twins, seed, lambda a, b: audited(a, b, level, seed)[0])
    groups, shares = clusters(model, read, made, seed)
    found = replace(found, clusters=groups, shares=shares, components=components(model, read, made, seed))
    found = replace(found, mistakes=mistakes(model, read, made, asked.said_before, seed))
    return replace(found, data=source.name, masked=masks is not None, receipt=receipt)


def audited(model: VisionModel, read: Audited, level: float, seed: int) -> tuple[Audit, Asked]:
    """Audits a model on pictures that have been read; returns what was found, and the answers."""
    made = _prepared(read, seed)
    asked = Asked(model, read, made, seed)
    results = followed(asked.moves, read.labels, level, seed)
    bars = {kind: CUES[kind].bar for kind in results}
    suspicions = [
        asked.suspicion(kind, index, float(one.p_value[index]), float(one.effect[index]))
        for kind, one in results.items()
        for index in range(len(read.classes))
        if one.p_value[index] <= level and one.effect[index] >= bars[kind] and one.lost[index] >= BOTH_WAYS * one.effect[index]
    ]
    right = asked.said_before == read.labels
    found = Audit(
        _ordered(suspicions),
        read.classes,
        len(read.labels),
        level,
        float(right.double().mean()),
        {kind: one.effect for kind, one in results.items()},
        {kind: one.p_value for kind, one in results.items()},
        bars,
        _smallest(results, bars),
        asked.reliance(),
        properties_of(read, right, seed),
        losses={kind: one.lost for kind, one in results.items()},
        skipped=read.skipped,
        model=model.name,
    )
    return found, asked


def _ordered(suspicions: Sequence[Suspicion]) -> tuple[Suspicion, ...]:
    """Sorts by effect; a cast or a sharpness comes after other cues, since a background or a frame carries its own."""
    return tuple(sorted(suspicions, key=lambda one: (one.kind in CARRIED, -one.effect)))


def _prepared(read: Audited, seed: int) -> Material:
    with stage("backgrounds and surfaces"):
        report(0, len(read.pixels), "pictures")
        made = material(read.pixels, read.objects, seed)
        report(len(read.pixels), len(read.pixels), "pictures")
    return made


def _smallest(results: Mapping[str, Followed], bars: Mapping[str, float]) -> dict[str, float]:
    return {kind: max(one.smallest, bars[kind]) for kind, one in results.items()}


class Asked:
    """A model's answers to pictures as they are, and after each cue was moved."""

    def __init__(self, model: VisionModel, read: Audited, made: Material, seed: int) -> None:
        self.model, self.read, self.made, self.seed = model, read, made, seed
        n = len(read.labels)
        self.to, self.given = pairs(n, ROUNDS, seed)
        self.every = torch.arange(n)
        begun, self.done, self.total = time.perf_counter(), 0, n
        with stage("pictures as they are"):
            self.before, self.said_before = self._answers(lambda made, to, given: made.pixels[to], self.every, self.every)
        edits = sum(1 + (cue.elsewhere is not None) for cue in CUES.values())
        self.done, self.total = 0, n * sum(cue.remakes for cue in CUES.values()) + len(self.to) * edits
        seconds = (time.perf_counter() - begun) * self.total / n
        with stage(f"{len(CUES)} cues between {n} pictures: {self.total:,} answers, about {seconds:.0f} s on this machine"):
            self.own = {kind: self._answers(cue.move, self.every, self.every) for kind, cue in CUES.items() if cue.remakes}
            self.after: dict[str, tuple[Tensor, Tensor]] = {}
            self.moves = {kind: self._moved(kind) for kind in CUES}

    def _answers(self, move: Move, to: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        tables, said = [], []
        for some, others in zip(to.split(BATCH), given.split(BATCH), strict=True):
            table, answer = answers(self.model, move(self.made, some, others), self.read.outputs)
            tables.append(table)
            said.append(answer)
            self.done += len(some)
            report(self.done, self.total, "answers")
        return torch.cat(tables), torch.cat(said)

    def _moved(self, kind: str) -> Moves:
        cue, there = CUES[kind], self.made.has_object
        usable = torch.ones(len(self.to), dtype=torch.bool)
        if cue.takes_object:
            usable &= there[self.to]
        if cue.gives_object:
            usable &= there[self.given]
        if cue.remakes:
            usable &= (self.own[kind][1] == self.said_before)[self.to]
        self.after[kind] = self._answers(cue.move, self.to, self.given)
        change = self.after[kind][0] - self.before[self.to]
        if cue.elsewhere is not None:
            change = change - (self._answers(cue.elsewhere, self.to, self.given)[0] - self.before[self.to])
        return Moves(self.to, self.given, change, usable)

    def suspicion(self, kind: str, index: int, p_value: float, effect: float) -> Suspicion:
        """Returns what the experiment showed of a cue towards a class, with the pictures that changed most."""
        moves, labels, names = self.moves[kind], self.read.labels, self.read.names
        table, said = self.after[kind]
        flip, other, count = flips(said, moves, labels, index)
        rose = table[:, index] - self.before[self.to, index]
        chosen = (labels[self.to] != index) & (labels[self.given] == index) & moves.usable
        order = torch.where(chosen, rose, -torch.inf).argsort(descending=True, stable=True)[:count]
        rows = order[_firsts(self.to[order])][:SHOWN]
        to, given = self.to[rows], self.given[rows]
        return Suspicion(
            kind,
            self.read.classes[index],
            effect,
            interval(moves, labels, index, self.seed),
            p_value,
            (flip, other),
            count,
            tuple(names[row] for row in to.tolist()),
            tuple(names[row] for row in given.tolist()),
            self.made.pixels[to],
            CUES[kind].move(self.made, to, given),
            self.made.pixels[given],
            torch.stack([self.before[to, index], table[rows, index]], 1),
            index,
        )

    def reliance(self) -> Tensor:
        """Drops (k, 2) of the own class's probability when the object, and when the surroundings, are another class's.

        Both against the picture's own object on its own plate, so that the plate itself does not count.
        """
        table, labels = self.after["background"][0], self.read.labels
        usable = self.made.has_object[self.to] & (labels[self.to] != labels[self.given])
        drops = torch.full((len(self.read.classes), 2), torch.nan, dtype=torch.float64)
        for index in range(len(self.read.classes)):
            for column, own in enumerate((self.given, self.to)):
                rows = usable & (labels[own] == index)
                if rows.any():
                    drops[index, column] = (self.own["background"][0][own[rows], index] - table[rows, index]).mean()
        return drops


def _firsts(values: Tensor) -> list[int]:
    """Places of values that did not come before."""
    first = {value: place for place, value in reversed(list(enumerate(values.tolist())))}
    return sorted(first.values())
