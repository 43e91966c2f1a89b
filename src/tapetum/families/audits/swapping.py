"""Pictures that take the cue of their own class and that of another: what a repair is fitted to and measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tapetum.families.audits.cues import CUES
from tapetum.families.audits.material import Material, material
from tapetum.families.audits.pictures import BATCH, Audited, answers
from tapetum.models.vision_model import VisionModel
from tapetum.progress import report, stage
from tapetum.types import MethodError, Suspicion
from tapetum.types.repairs import Asked

FEWEST_PAIRS = 4
"""Pictures of a suspicion from which a direction is computed where no source is given, at least."""


@dataclass(frozen=True)
class Swapped:
    """n pictures as they are, with a cue of their own class, and with one of another class.

    A class that is not suspected has no cue of its own: its pictures' own cue is that of any class that is not suspected.

    pixels  (n, 3, 3, h, w) in [0, 1]: as it is, with its own cue, with another's
    labels  (n,) place in `classes`
    cues    (n, 3) group of the class whose cue it has: 0 for the classes that are not suspected; -1: not known (as it is)
    weight  (n,) of the picture with another's cue against 1 for the one with its own, so that cues say nothing of classes
    own     (k,) bool: the suspected classes
    outputs of the network, one for each class
    """

    pixels: Tensor
    labels: Tensor
    cues: Tensor
    weight: Tensor
    own: Tensor
    classes: tuple[str, ...]
    outputs: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> Swapped:
        """Returns some of the pictures."""
        return replace(self, pixels=self.pixels[rows], labels=self.labels[rows], cues=self.cues[rows], weight=self.weight[rows])

    def said(self, model: VisionModel) -> Tensor:
        """Answers (n, 3) of a model to all of them, as places in `classes`; their number where it is none of these."""
        flat = self.pixels.flatten(0, 1)
        said, parts = [], flat.split(BATCH)
        for some in parts:
            said.append(answers(model, some, self.outputs)[1])
            report(sum(map(len, said)), len(flat), "answers")
        return torch.cat(said).view(len(self), 3)

    @property
    def asked(self) -> Asked:
        return Asked(self.labels, self.cues, self.weight, self.own)


def swapped(model: VisionModel, read: Audited, kind: str, own: Tensor, seed: int) -> Swapped:
    """Moves the cue between the pictures of a data set; `own` (k,) bool marks the suspected classes."""
    with stage("backgrounds and surfaces"):
        made = material(read.pixels, read.objects, seed)
    to, aligned, other = _givers(_usable(kind, made), read.labels, own, seed)
    move = CUES[kind].move
    with stage("pictures with other cues"):
        moved = [torch.cat([move(made, a, b) for a, b in zip(to.split(BATCH), some.split(BATCH), strict=True)])
                 for some in (aligned, other)]  # fmt: skip
    groups = _groups(own)[read.labels]
    unknown = torch.full_like(to, -1)
    return Swapped(
        torch.stack([made.pixels[to], *moved], 1),
        read.labels[to],
        torch.stack([unknown, groups[aligned], groups[other]], 1),
        torch.full((len(to),), float(len(groups.unique()) - 1)),
        own,
        read.classes,
        read.outputs,
    )


def _groups(own: Tensor) -> Tensor:
    """Group (k,) of each class: 1, 2, ... for the suspected ones, 0 for all others."""
    return torch.where(own, own.cumsum(0), 0)


def _usable(kind: str, made: Material) -> tuple[Tensor, Tensor]:
    """Rows of pictures that can take the cue, and of those that can give it."""
    every, there = torch.ones(len(made.pixels), dtype=torch.bool), made.has_object
    cue = CUES[kind]
    takes, gives = ((there if needs else every).nonzero()[:, 0] for needs in (cue.takes_object, cue.gives_object))
    return takes, gives


def _givers(usable: tuple[Tensor, Tensor], labels: Tensor, own: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows that take, and for each the row that gives it its own group's cue and one that gives it another group's.

    The other group's class is drawn evenly: a suspected class for a picture of another group, any other group for its own.
    """
    takers, sources = usable
    generator = torch.Generator().manual_seed(seed)
    groups = _groups(own)
    by_group = {g: sources[groups[labels[sources]] == g] for g in groups.unique().tolist()}
    empty = [g for g, rows in by_group.items() if not len(rows)]
    if empty or len(by_group) < 2:
        raise MethodError(
            "the cue cannot be moved: no picture of a suspected class, or of the others, has an object to take it from"
        )
    kept, aligned, other = [], [], []
    for row in takers.tolist():
        group = int(groups[labels[row]])
        mine = by_group[group][by_group[group] != row]
        if not len(mine):
            continue
        rest = [g for g in by_group if g != group]
        theirs = by_group[rest[_draw(len(rest), generator)]]
        kept.append(row)
        aligned.append(int(mine[_draw(len(mine), generator)]))
        other.append(int(theirs[_draw(len(theirs), generator)]))
    return torch.tensor(kept), torch.tensor(aligned), torch.tensor(other)


def _draw(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (1,), generator=generator))


def from_suspicions(model: VisionModel, given: Sequence[Suspicion], outputs: int) -> Swapped:
    """Takes the pictures that suspicions keep: the class of each is what the model answers to it before the cue was moved."""
    before = torch.cat([one.before for one in given])
    after = torch.cat([one.after for one in given])
    if len(before) < FEWEST_PAIRS:
        raise MethodError(f"the suspicion keeps {len(before)} pictures, a repair needs {FEWEST_PAIRS}: give source=, the data")
    said = answers(model, before, range(outputs))[1]
    groups = torch.cat([torch.full((len(one.before),), i + 1) for i, one in enumerate(given)])
    every = tuple(model.labels or map(str, range(outputs)))
    follow = {class_place(every, one.label) for one in given}
    kept = sorted(follow | set(said.tolist()))
    rest = torch.zeros_like(groups)
    return Swapped(
        torch.stack([before, before, after], 1),
        torch.tensor([kept.index(place) for place in said.tolist()]),
        torch.stack([rest - 1, rest, groups], 1),
        torch.ones(len(before)),
        torch.tensor([place in follow for place in kept]),
        tuple(every[place] for place in kept),
        tuple(kept),
    )


def class_place(classes: Sequence[str], label: str) -> int:
    """Place of a suspicion's class among classes; a refusal names those there are."""
    if label not in classes:
        raise MethodError(f"the suspicion is of '{label}', which is no class here: {', '.join(classes[:8])}")
    return classes.index(label)


def halves(labels: Tensor, seed: int, k: int) -> tuple[Tensor, Tensor]:
    """Rows of two halves with equally many pictures of each class, to within one."""
    generator = torch.Generator().manual_seed(seed)
    first, second = [], []
    for index in range(k):
        rows = (labels == index).nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=generator)]
        first.append(rows[0::2])
        second.append(rows[1::2])
    return torch.cat(first).sort().values, torch.cat(second).sort().values
