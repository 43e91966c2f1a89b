"""Divides a data set into shards of whole batches, always in the same way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tapetum.types import TapetumError

BATCH = 16
"""Pictures per forward pass: fixed, since the composition of a batch affects the last bits of its results."""

SHARD = 64
"""Pictures per shard: a killed run loses at most this many per worker, and this many are written at once."""


@dataclass(frozen=True)
class Plan:
    """Division of samples 0 .. count - 1 into shards of `shard` pictures, and of these into batches of `batch`.

    Which pictures share a forward pass does not depend on the number of workers, so neither do the last bits of the results.
    """

    count: int
    batch: int
    shard: int = SHARD

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise TapetumError(f"batch must be at least 1, not {self.batch}")
        if self.shard < 1:
            raise TapetumError(f"a shard holds at least 1 picture, not {self.shard}")

    @property
    def shards(self) -> range:
        return range(-(-self.count // self.shard))

    def samples(self, shard: int) -> range:
        return range(shard * self.shard, min(self.count, (shard + 1) * self.shard))

    def batches(self, shard: int) -> Iterator[range]:
        """Yields the samples of a shard, batch by batch."""
        samples = self.samples(shard)
        for start in range(0, len(samples), self.batch):
            yield samples[start : start + self.batch]


def described(trackers: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
    """Returns {layer: each tracker with its parameters, as text}."""
    return {layer: [f"{type(one).__name__}({_parameters(one)})" for one in many] for layer, many in trackers.items()}


def _parameters(tracker: Any) -> str:
    return ", ".join(f"{field.name}={getattr(tracker, field.name)!r}" for field in dataclasses.fields(tracker))
