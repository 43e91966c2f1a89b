"""What an edit that suppresses a cue changes: the gap that the cue makes, and the accuracy of every class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import Result
from tapetum.types.text import table

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Effects(Result):
    """Accuracies before and after an edit, all as shares in [0, 1]; k classes.

    gap       (2,) accuracy with the cue of the own class less accuracy with the cue of another, before and after
    pull      (2,) share of the pictures answered by a suspected class with its cue, less the share with another: the part of
              the gap that the cue makes, without what moving it damages
    interval  95 % interval of the pull afterwards, by resampling pictures
    accuracy  (k, 2) of each class on the pictures as they are
    fair      (k, 2) of each class on pictures whose cue says nothing about the class
    change    (k, 2) 95 % interval of the change of `accuracy`, by resampling pictures
    n         (k,) pictures of each class
    """

    gap: Tensor
    pull: Tensor
    interval: Interval
    accuracy: Tensor
    fair: Tensor
    change: Tensor
    n: Tensor

    @property
    def fall(self) -> float:
        """Share of the pull that is gone: 1 for all of it, 0 where there was none."""
        before, after = listed(self.pull)
        return 1 - after / before if before > 0 else 0.0

    def others(self, own: Tensor) -> float:
        """Mean change of the accuracy of the classes that `own` (k,) bool does not mark; 0 without any."""
        change = (self.accuracy[:, 1] - self.accuracy[:, 0])[~own]
        return float(change.mean()) if len(change) else 0.0


@dataclass(frozen=True, eq=False)
class Attempt(Result):
    """A candidate edit: its name, how many weights it changes, and what was predicted of it.

    fall    share of the cue's pull that it takes away
    others  mean change of accuracy of the classes that do not follow the cue
    fair    mean accuracy on pictures whose cue says nothing about the class
    """

    name: str
    changed: int
    fall: float
    others: float
    fair: float


@dataclass(frozen=True)
class Asked:
    """What effects are computed from: n pictures that were asked for as they are, with their own cue, and with another's.

    labels  (n,) class of each picture
    cues    (n, 3) group of the class whose cue it has, 0 for classes that are not suspected, -1 not known
    weight  (n,) weight of the picture with another's cue against 1 for the one with its own
    own     (k,) bool: the suspected classes, whose groups are 1, 2, ...
    """

    labels: Tensor
    cues: Tensor
    weight: Tensor
    own: Tensor


def effects_of(before: Tensor, after: Tensor, asked: Asked, seed: int) -> Effects:
    """Computes effects from answers (n, 3), places of classes, before and after an edit; `seed` is that of the resamples."""
    said = torch.stack([before, after], 2)  # (n, 3, 2)
    right = (said == asked.labels[:, None, None]).double()
    weight = asked.weight.double()[:, None]
    fair = (right[:, 1] + weight * right[:, 2]) / (1 + weight)
    own = torch.nn.functional.one_hot(asked.labels, len(asked.own)).double()
    count = own.sum(0)
    draws = _draws(asked.labels, len(asked.own), seed)
    lost = own * (right[:, 0, 1] - right[:, 0, 0])[:, None]
    changes = torch.stack([lost[rows].sum(0) / own[rows].sum(0).clamp(min=1) for rows in draws])
    pulled = _pulled(said, asked)
    pulls = torch.stack([pulled[rows, 1].mean() for rows in draws])
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = listed(pulls.quantile(ends))
    return Effects(
        (right[:, 1] - right[:, 2]).mean(0),
        pulled.mean(0),
        (low, high),
        own.T @ right[:, 0] / count[:, None],
        own.T @ fair / count[:, None],
        changes.quantile(ends, 0).T.contiguous(),
        count.long(),
    )


def _pulled(said: Tensor, asked: Asked) -> Tensor:
    """Whether a suspected class is the answer with its cue, less whether it is with another: (n, 2) of -1, 0, 1."""
    theirs = asked.cues[:, 2] > 0  # else the picture's own class is suspected
    group = torch.where(theirs, asked.cues[:, 2], asked.cues[:, 1])
    label = asked.own.nonzero()[:, 0][group - 1]
    answered = (said == label[:, None, None]).double()
    difference = answered[:, 2] - answered[:, 1]
    return torch.where(theirs[:, None], difference, -difference)


RESAMPLES = 500


def _draws(labels: Tensor, k: int, seed: int) -> Tensor:
    """Rows (500, n) drawn with replacement within each class."""
    generator = torch.Generator().manual_seed(seed)
    parts = [(labels == index).nonzero()[:, 0] for index in range(k)]
    return torch.cat(
        [rows[torch.randint(len(rows), (RESAMPLES, len(rows)), generator=generator)] for rows in parts if len(rows)], 1
    )


def classes_table(classes: tuple[str, ...], predicted: Effects, measured: Effects, own: Tensor) -> str:
    """A row per class, worst first: accuracy before and after, its change as measured with interval and as predicted."""
    change = measured.accuracy[:, 1] - measured.accuracy[:, 0]
    order = sorted((i for i in range(len(classes)) if int(measured.n[i])), key=lambda i: float(change[i]))
    said = predicted.accuracy[:, 1] - predicted.accuracy[:, 0]
    rows = [
        (
            classes[i] + (" (follows the cue)" if bool(own[i]) else ""),
            f"{float(measured.accuracy[i, 0]):.1%}",
            f"{float(measured.accuracy[i, 1]):.1%}",
            f"{100 * float(change[i]):+.1f}",
            f"{100 * float(measured.change[i, 0]):+.1f} to {100 * float(measured.change[i, 1]):+.1f}",
            f"{100 * float(said[i]):+.1f}",
            str(int(measured.n[i])),
        )
        for i in order
    ]
    return table(("class", "before", "after", "change", "95 %", "predicted", "n"), rows)
