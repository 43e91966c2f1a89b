"""Protocol of trackers: parameters, and pure functions of a state, which is a dict of tensors.

`merge` is associative and commutative to the last bit, and `start` is its identity. So any division of the data set into
shards, any number of workers and any order of merging give the same result. This is why trackers sum integers, not floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from tapetum.types import ScoreKind, TapetumError

State = dict[str, Tensor]

Sees: TypeAlias = Literal["maps", "scores"]
"""What a tracker reads: "maps" (the default), with an update per batch; or "scores", only the maps' maxima and means, with
one update per shard."""


@dataclass(frozen=True, eq=False)
class SeenBatch:
    """One batch at a layer: its maps (n, c, h, w), and the numbers (n,) of the samples that they belong to."""

    maps: Tensor
    samples: Tensor

    @cached_property
    def _peaks(self) -> tuple[Tensor, Tensor]:
        peak, where = self.maps.flatten(2).max(2)
        return peak.float().cpu(), where.to(torch.int32).cpu()

    @property
    def peak(self) -> Tensor:
        """Maximum of each map over its places, (n, c) float32."""
        return self._peaks[0]

    @property
    def where(self) -> Tensor:
        """Flat position of each map's maximum, (n, c) int32; the first one if several are equal."""
        return self._peaks[1]

    @cached_property
    def mean(self) -> Tensor:
        """Mean of each map over its places, (n, c) float32."""
        return self.maps.flatten(2).mean(2, dtype=torch.float32 if self.maps.dtype != torch.float64 else None).float().cpu()

    def score(self, kind: str) -> Tensor:
        """Returns the scores by which a unit's pictures are ranked, (n, c) float32: the maxima for "max", else the means."""
        return self.peak if kind == "max" else self.mean

    def rows(self, keep: Tensor) -> SeenBatch:
        """Returns the batch with only the pictures where `keep` (n,) is true."""
        return SeenBatch(self.maps[keep.to(self.maps.device)], self.samples[keep])

    def scores(self) -> SeenBatch:
        """Returns the batch without its maps, which take much memory: only their maxima and means."""
        return together([self])


def together(parts: Sequence[SeenBatch]) -> SeenBatch:
    """Joins several batches into one without maps, which keeps only their maxima and means."""
    samples = torch.cat([part.samples for part in parts])
    seen = SeenBatch(torch.zeros(len(samples), parts[0].peak.shape[1], 0, 0), samples)
    peak, where = (torch.cat([getattr(part, name) for part in parts]) for name in ("peak", "where"))
    vars(seen).update(_peaks=(peak, where), mean=torch.cat([part.mean for part in parts]))  # cached, so never computed
    return seen


@dataclass(frozen=True, eq=False)
class Context:
    """Facts that a tracker's result carries besides its numbers.

    layer  name of the layer
    ids    ids of all samples
    grid   (rows, columns) of the layer's maps; None for vectors
    tap    "output", or "pre-activation" where values are read before the activation function
    """

    layer: str
    ids: Sequence[str]
    grid: tuple[int, int] | None
    tap: str = "output"


@runtime_checkable
class Tracker(Protocol):
    """Statistic that a scan keeps of every unit: a frozen dataclass of parameters, with methods that map states to states.

    The class attribute `sees = "scores"` declares that `update` does not read `seen.maps`.
    """

    def start(self, channels: int) -> State:
        """Returns the initial state, before any picture, for this number of units."""
        ...

    def update(self, state: State, seen: SeenBatch) -> State:
        """Returns the state after one more batch; leaves the given state unchanged."""
        ...

    def merge(self, a: State, b: State) -> State:
        """Returns the state of two sets of pictures together; the sets must have no picture in common."""
        ...

    def result(self, state: State, context: Context) -> Any:
        """Turns the final state into the result that users read."""
        ...


def used_ids(samples: Sequence[Tensor], ids: Sequence[str]) -> dict[int, str]:
    """Returns {sample: id} of all samples that occur in these tensors; ignores -1, which stands for no picture."""
    found: list[int] = torch.cat([one.flatten() for one in samples]).unique().tolist()
    return {sample: ids[sample] for sample in found if sample >= 0}


def check_score(kind: str) -> None:
    if kind not in ("max", "mean"):
        raise TapetumError(f'score is "max" or "mean" over the places, not {kind!r}')


@dataclass(frozen=True)
class OfScores:
    """Base of trackers of scores alone: a unit's score on a picture is the maximum over its map's places, or the mean."""

    score: ScoreKind = "max"
    sees: ClassVar[Sees] = "scores"

    def __post_init__(self) -> None:
        check_score(self.score)


def check_k(k: int) -> None:
    if k < 1:
        raise TapetumError(f"k must be at least 1, not {k}")
