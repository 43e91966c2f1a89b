"""Keeps the scores of all units on all pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tapetum.engines.scan.trackers import sample_rows
from tapetum.engines.scan.trackers.base import Context, OfScores, SeenBatch, State, used_ids
from tapetum.types import ScoresResult


@dataclass(frozen=True)
class Scores(OfScores):
    """Keeps every unit's score on every picture, as a table: which units fire on a picture, and how rare that is.

    score   the maximum over the places of a unit's map, or the mean
    memory  4 bytes x pictures x units, so for data sets of up to about ten thousand pictures
    """

    def start(self, channels: int) -> State:
        return {"samples": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0, channels)}

    def update(self, state: State, seen: SeenBatch) -> State:
        return self.merge(state, {"samples": seen.samples, "scores": seen.score(self.score) + 0.0})

    def merge(self, a: State, b: State) -> State:
        return sample_rows.merged(a, b)

    def result(self, state: State, context: Context) -> ScoresResult:
        ids = used_ids([state["samples"]], context.ids)
        return ScoresResult(context.layer, state["scores"], state["samples"], ids, self.score)
