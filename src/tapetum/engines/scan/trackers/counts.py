"""Histograms over bins that are the same for all networks, so that the counts of different shards add up exactly."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tapetum.engines.scan.trackers.base import Context, OfScores, SeenBatch, State
from tapetum.types import HistogramResult

PER_OCTAVE = 16
LOWEST, HIGHEST = -10, 14
"""Powers of two of the smallest and largest edges: edges are at 0 and ± 2^(i / 16), so neighbouring ones differ by 4 %."""


def lattice() -> Tensor:
    """Returns the bins' edges (e,) float64, ascending."""
    positive = 2.0 ** (torch.arange(LOWEST * PER_OCTAVE, HIGHEST * PER_OCTAVE + 1, dtype=torch.float64) / PER_OCTAVE)
    positive = positive.float().double()  # rounded to float32, as scores are
    return torch.cat([-positive.flip(0), positive.new_zeros(1), positive])


@dataclass(frozen=True)
class Counts(OfScores):
    """Keeps the distribution of every unit's scores: counts between fixed edges, the lowest and highest score."""

    def start(self, channels: int) -> State:
        return {
            "counts": torch.zeros(channels, len(lattice()) + 1, dtype=torch.int32),
            "low": torch.full((channels,), float("inf")),
            "high": torch.full((channels,), -float("inf")),
        }

    def update(self, state: State, seen: SeenBatch) -> State:
        score = seen.score(self.score).T.contiguous()
        return self.merge(state, {"counts": counted(score), "low": score.amin(1), "high": score.amax(1)})

    def merge(self, a: State, b: State) -> State:
        low, high = torch.minimum(a["low"], b["low"]), torch.maximum(a["high"], b["high"])
        return {"counts": a["counts"] + b["counts"], "low": low + 0.0, "high": high + 0.0}

    def result(self, state: State, context: Context) -> HistogramResult:
        n = int(state["counts"][0].sum()) if len(state["counts"]) else 0
        return HistogramResult(context.layer, lattice(), state["counts"], state["low"], state["high"], n)


def counted(score: Tensor) -> Tensor:
    """Returns counts (c, e + 1) of scores (c, n): bin i holds lattice[i - 1] <= score < lattice[i]."""
    edges = lattice()
    bins = torch.searchsorted(edges, score.double(), right=True)
    counts = torch.zeros(len(score), len(edges) + 1, dtype=torch.int32)
    return counts.scatter_add_(1, bins, torch.ones_like(bins, dtype=torch.int32))
