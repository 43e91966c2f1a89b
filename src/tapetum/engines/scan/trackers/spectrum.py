"""Keeps the pictures of each unit's activation spectrum: lowest, nearest below and above a threshold, highest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tapetum.engines.scan.trackers import ranking, sample_rows
from tapetum.engines.scan.trackers.base import Context, SeenBatch, Sees, State, check_k, check_score, used_ids
from tapetum.engines.scan.trackers.counts import Counts
from tapetum.types import GROUPS, Ranking, ScoreKind, SpectrumResult, TapetumError


@dataclass(frozen=True)
class Spectrum:
    """Keeps the k pictures at four places of every unit's spectrum: minimum, slightly negative, slightly positive, maximum.

    A unit's score on a picture is the maximum (or mean) over its map's places. The threshold is zero: slightly negative are
    the highest scores below it, slightly positive the lowest above it. A unit that is never negative on any picture has the
    median as its threshold: its pictures in the order of (score, sample) are cut in the middle, nearest to the cut first.

    around   "auto": as described; "zero" or "median": that threshold for all units
    memory   8 bytes x pictures x units for the median, which needs all scores of units that are never negative; little else

    Source: olah2017feature shows such a spectrum; here its extremes are those of the whole data set, not of a sample.
    """

    k: int = 9
    score: ScoreKind = "max"
    around: Literal["auto", "zero", "median"] = "auto"
    sees: ClassVar[Sees] = "scores"

    def __post_init__(self) -> None:
        check_k(self.k)
        check_score(self.score)
        if self.around not in ("auto", "zero", "median"):
            raise TapetumError(f'around is "auto", "zero" or "median", not {self.around!r}')

    def start(self, channels: int) -> State:
        state = dict(Counts(self.score).start(channels))
        for group in GROUPS:
            state[f"{group} key"], state[f"{group} place"] = ranking.empty(channels, self.k)
        state["kept"] = torch.full((channels,), self.around != "zero")
        width = channels if self.around != "zero" else 0
        return {**state, **_table(torch.zeros(0, width), torch.zeros(0, width, dtype=torch.int32), torch.zeros(0).long())}

    def update(self, state: State, seen: SeenBatch) -> State:
        score = seen.score(self.score) + 0.0
        kept = (score >= 0).all(0)
        kept = kept if self.around == "auto" else torch.full_like(kept, self.around == "median")
        counts = Counts(self.score)
        table = _table(score[:, kept], seen.where[:, kept], seen.samples)
        new: State = {**counts.update(counts.start(score.shape[1]), seen), **table, "kept": kept}
        for group, key in _keys(score.T, seen.samples).items():
            new[f"{group} key"], new[f"{group} place"] = key, seen.where.T
        return self.merge(state, new)

    def merge(self, a: State, b: State) -> State:
        merged = Counts(self.score).merge(a, b)
        for group in GROUPS:
            parts = (torch.cat([s[f"{group} {what}"] for s in (a, b)], 1) for what in ("key", "place"))
            merged[f"{group} key"], merged[f"{group} place"] = ranking.first(self.k, *parts)
        kept = a["kept"] & b["kept"]
        tabled = [_table(s["scores"][:, kept[s["kept"]]], s["places"][:, kept[s["kept"]]], s["samples"]) for s in (a, b)]
        table = sample_rows.merged(tabled[0], tabled[1])
        return {**merged, **table, "kept": kept}

    def result(self, state: State, context: Context) -> SpectrumResult:
        found = {group: _read(state, group) for group in GROUPS}  # copies, into which the halves are written below
        threshold = torch.zeros(len(state["kept"]))
        kept, n = state["kept"], len(state["samples"])
        if n and bool(kept.any()):
            below, above, threshold[kept] = _halves(state, self.k)
            for group, half in (("slightly_negative", below), ("slightly_positive", above)):
                for name in ("score", "sample", "place"):
                    getattr(found[group], name)[kept] = getattr(half, name)
        median = kept.clone() if n else torch.zeros_like(kept)
        return SpectrumResult(
            context.layer,
            found,
            threshold,
            median,
            used_ids([one.sample for one in found.values()], context.ids),
            context.grid,
            n,
            Counts(self.score).result(state, context),
            self.score,
            context.tap,
        )


def _table(scores: Tensor, places: Tensor, samples: Tensor) -> State:
    """Returns the table of all scores of the units that were never negative, one row per picture."""
    return {"scores": scores, "places": places, "samples": samples}


def _keys(score: Tensor, samples: Tensor) -> dict[str, Tensor]:
    """Returns {group of the spectrum: keys (c, n)}; scores that rank higher in a group have larger keys there."""
    up, down = ranking.keys(score, samples), ranking.keys(-score, samples)
    return {
        "minimum": down,
        "slightly_negative": up.masked_fill(score >= 0, ranking.NOTHING),
        "slightly_positive": down.masked_fill(score <= 0, ranking.NOTHING),
        "maximum": up,
    }


def _read(state: State, group: str) -> Ranking:
    negated = group in ("minimum", "slightly_positive")
    return ranking.ranking(state[f"{group} key"], state[f"{group} place"].clone(), negated=negated)


def _halves(state: State, k: int) -> tuple[Ranking, Ranking, Tensor]:
    """Returns k pictures just below and k just above the median of (score, sample), and the median, for each kept unit."""
    scores, places = state["scores"].T.contiguous(), state["places"].T
    order = scores.sort(dim=1, stable=True).indices  # stable, and the samples ascend: ties by sample
    n = order.shape[1]
    cut = n // 2
    ascending = scores.gather(1, order)
    median = ascending[:, cut] if n % 2 else (ascending[:, cut - 1] + ascending[:, cut]) / 2
    below, above = order[:, max(0, cut - k) : cut].flip(1), order[:, cut : cut + k]
    return _picked(state, scores, places, below, k), _picked(state, scores, places, above, k), median


def _picked(state: State, scores: Tensor, places: Tensor, index: Tensor, k: int) -> Ranking:
    missing = k - index.shape[1]

    def filled(values: Tensor, value: float | int) -> Tensor:
        return torch.cat([values, values.new_full((len(values), missing), value)], 1)

    sample = state["samples"][index]
    return Ranking(filled(scores.gather(1, index), float("nan")), filled(sample, -1), filled(places.gather(1, index), 0))
