"""The protocol of trackers: parameters, and pure functions over a state that is a table of tensors.

`merge` is associative and commutative with the identity `start`, to the last bit: so any cut of the data set into
shards, any number of workers and any order of merging give the same answer. Sums are therefore sums of integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from tapetum.types import TapetumError

State = dict[str, Tensor]

Sees: TypeAlias = Literal["maps", "scores"]
"""Input of a tracker: maps, batch by batch (also where it does not say); or only their maxima and means, which a
shard keeps until its last batch, so that the tracker is updated once a shard."""


@dataclass(frozen=True, eq=False)
class SeenBatch:
    """Batch at a layer: maps (n, c, h, w), and the samples (n,) that they belong to."""

    maps: Tensor
    samples: Tensor

    @cached_property
    def _peaks(self) -> tuple[Tensor, Tensor]:
        peak, where = self.maps.flatten(2).max(2)
        return peak.float().cpu(), where.to(torch.int32).cpu()

    @property
    def peak(self) -> Tensor:
        """Maximum over the places, (n, c) float32."""
        return self._peaks[0]

    @property
    def where(self) -> Tensor:
        """Flat position of the maximum, (n, c) int32; the first where there are several."""
        return self._peaks[1]

    @cached_property
    def mean(self) -> Tensor:
        """Mean over the places, (n, c) float32."""
        return self.maps.flatten(2).mean(2, dtype=torch.float32 if self.maps.dtype != torch.float64 else None).float().cpu()

    def score(self, kind: str) -> Tensor:
        """Scores by which a unit's pictures are ranked, (n, c) float32."""
        return self.peak if kind == "max" else self.mean

    def rows(self, keep: Tensor) -> SeenBatch:
        """The batch with some of its pictures alone."""
        return SeenBatch(self.maps[keep.to(self.maps.device)], self.samples[keep])

    def scores(self) -> SeenBatch:
        """The batch without its maps, which take memory: only their maxima and means are kept."""
        return together([self])


def together(parts: Sequence[SeenBatch]) -> SeenBatch:
    """The maxima and the means of several batches as one; its maps have no places."""
    samples = torch.cat([part.samples for part in parts])
    seen = SeenBatch(torch.zeros(len(samples), parts[0].peak.shape[1], 0, 0), samples)
    peak, where = (torch.cat([getattr(part, name) for part in parts]) for name in ("peak", "where"))
    vars(seen).update(_peaks=(peak, where), mean=torch.cat([part.mean for part in parts]))  # what is cached is not computed
    return seen


@dataclass(frozen=True, eq=False)
class Context:
    """Facts of a result besides its numbers: the layer, its grid (None without places), the samples' ids, the tap."""

    layer: str
    ids: Sequence[str]
    grid: tuple[int, int] | None
    tap: str = "output"


@runtime_checkable
class Tracker(Protocol):
    """Parameters in the fields of a frozen dataclass; everything else is in the state.

    A class attribute `sees = "scores"` says that `update` does not look at `seen.maps`.
    """

    def start(self, channels: int) -> State:
        """The initial state, before any picture."""
        ...

    def update(self, state: State, seen: SeenBatch) -> State:
        """The state after one more batch; the given one is not changed."""
        ...

    def merge(self, a: State, b: State) -> State:
        """The state of both sets of pictures together, which have none in common."""
        ...

    def result(self, state: State, context: Context) -> Any:
        """Turns the final state into the result that users read."""
        ...


def used_ids(samples: Sequence[Tensor], ids: Sequence[str]) -> dict[int, str]:
    """{sample: id} of the pictures that occur."""
    found: list[int] = torch.cat([one.flatten() for one in samples]).unique().tolist()
    return {sample: ids[sample] for sample in found if sample >= 0}


def check_score(kind: str) -> None:
    if kind not in ("max", "mean"):
        raise TapetumError(f'score is "max" or "mean" over the places, not {kind!r}')


def check_k(k: int) -> None:
    if k < 1:
        raise TapetumError(f"k must be at least 1, not {k}")
