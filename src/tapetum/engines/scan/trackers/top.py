"""Keeps the k pictures on which each unit's score is highest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from tapetum.engines.scan.trackers import ranking
from tapetum.engines.scan.trackers.base import Context, SeenBatch, Sees, State, check_k, check_score, used_ids
from tapetum.types import ScoreKind, TopKResult


@dataclass(frozen=True)
class TopK:
    """Keeps each unit's k pictures with the highest scores, and the place of the maximum in each map; ties by sample."""

    k: int = 9
    score: ScoreKind = "max"
    sees: ClassVar[Sees] = "scores"

    def __post_init__(self) -> None:
        check_k(self.k)
        check_score(self.score)

    def start(self, channels: int) -> State:
        key, place = ranking.empty(channels, self.k)
        return {"key": key, "place": place, "n": torch.zeros(1, dtype=torch.int64)}

    def update(self, state: State, seen: SeenBatch) -> State:
        key = ranking.keys(seen.score(self.score).T, seen.samples)
        return self.merge(state, {"key": key, "place": seen.where.T, "n": torch.tensor([len(seen.samples)])})

    def merge(self, a: State, b: State) -> State:
        key, place = ranking.first(self.k, torch.cat([a["key"], b["key"]], 1), torch.cat([a["place"], b["place"]], 1))
        return {"key": key, "place": place, "n": a["n"] + b["n"]}

    def result(self, state: State, context: Context) -> TopKResult:
        found = ranking.ranking(state["key"], state["place"])
        ids, n = used_ids([found.sample], context.ids), int(state["n"])
        return TopKResult(context.layer, found, ids, context.grid, n, self.score, context.tap)
