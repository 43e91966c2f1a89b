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
    interval  95 % interval of the gap afterwards, by resampling pictures
    accuracy  (k, 2) of each class on the pictures as they are
    fair      (k, 2) of each class on pictures whose cue says nothing about the class
    change    (k, 2) 95 % interval of the change of `accuracy`, by resampling pictures
    n         (k,) pictures of each class
    """

    gap: Tensor
    interval: Interval
    accuracy: Tensor
    fair: Tensor
    change: Tensor
    n: Tensor

    @property
    def fall(self) -> float:
        """Share of the gap that is gone: 1 for all of it, 0 where there was none."""
        before, after = listed(self.gap)
        return 1 - after / before if before > 0 else 0.0

    def others(self, own: Tensor) -> float:
        """Mean change of the accuracy of the classes that `own` (k,) bool does not mark; 0 without any."""
        change = (self.accuracy[:, 1] - self.accuracy[:, 0])[~own]
        return float(change.mean()) if len(change) else 0.0


@dataclass(frozen=True, eq=False)
class Attempt(Result):
    """A candidate edit: its name, how many weights it changes, and what was predicted of it.

    fall    share of the gap that it takes away
    others  mean change of accuracy of the classes that do not follow the cue
    fair    mean accuracy on pictures whose cue says nothing about the class
    """

    name: str
    changed: int
    fall: float
    others: float
    fair: float


def effects_of(right: tuple[Tensor, Tensor], fair_weight: Tensor, labels: Tensor, k: int, seed: int) -> Effects:
    """Computes effects from right answers.

    Args:
        right: before and after the edit, (n, 3) bool each: as the picture is, with its own cue, with another's.
        fair_weight: (n,) weight of the answer with another's cue against a weight of 1 of the one with its own.
        labels: (n,) class of each picture.
        k: number of classes.
        seed: random seed of the resamples.
    """
    table_ = torch.stack([one.double() for one in right], 2)  # (n, 3, 2)
    weight = fair_weight.double()[:, None]
    fair = (table_[:, 1] + weight * table_[:, 2]) / (1 + weight)
    own = torch.nn.functional.one_hot(labels, k).double()
    count = own.sum(0)
    draws = _draws(labels, k, seed)
    change = table_[:, 0, 1] - table_[:, 0, 0]
    resampled = torch.stack([(own * change[:, None])[rows].sum(0) / own[rows].sum(0).clamp(min=1) for rows in draws])
    gaps = torch.stack([(table_[rows, 1, 1] - table_[rows, 2, 1]).mean() for rows in draws])
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = listed(gaps.quantile(ends))
    return Effects(
        (table_[:, 1] - table_[:, 2]).mean(0),
        (low, high),
        own.T @ table_[:, 0] / count[:, None],
        own.T @ fair / count[:, None],
        resampled.quantile(ends, 0).T.contiguous(),
        count.long(),
    )


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
    order = sorted(range(len(classes)), key=lambda i: float(change[i]))
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
