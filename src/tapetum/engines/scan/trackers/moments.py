"""Keeps the mean and the standard deviation of every unit's scores, computed from exact sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tapetum.engines.scan.trackers import exact
from tapetum.engines.scan.trackers.base import Context, SeenBatch, Sees, State
from tapetum.types import MomentsResult


@dataclass(frozen=True)
class Moments:
    """Keeps the mean and standard deviation over pictures of each unit's score: of its map's maximum, and of its map's mean.

    Sums of the float32 scores and of their squares are kept as whole numbers (`exact.py`), and rounded once at the end. The
    standard deviation is sqrt(mean of (score - mean)^2).

    memory   1.5 kB per unit, whatever the number of pictures
    """

    sees: ClassVar[Sees] = "scores"

    def start(self, channels: int) -> State:
        return {"n": torch.zeros(1, dtype=torch.int64), **_sums(torch.zeros(0, channels), torch.zeros(0, channels))}

    def update(self, state: State, seen: SeenBatch) -> State:
        return self.merge(state, {"n": torch.tensor([len(seen.samples)]), **_sums(seen.peak, seen.mean)})

    def merge(self, a: State, b: State) -> State:
        return {name: a[name] + b[name] for name in a}

    def result(self, state: State, context: Context) -> MomentsResult:
        n = int(state["n"])
        peak = exact.mean_and_deviation(state["sum"], state["square"], n)
        return MomentsResult(context.layer, n, *peak, *exact.mean_and_deviation(state["mean sum"], state["mean square"], n))


def _sums(peak: Tensor, mean: Tensor) -> State:
    peaks = {"sum": exact.sums(peak), "square": exact.squares(peak)}
    return {**peaks, "mean sum": exact.sums(mean), "mean square": exact.squares(mean)}
