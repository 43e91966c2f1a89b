"""Runs shards on this computer: one thread per worker, each with its own replica of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tapetum.engines.scan.job import Job
from tapetum.engines.scan.shards import ShardResult, Tick
from tapetum.engines.threads import check_workers, side_by_side, usual_workers


@runtime_checkable
class Runner(Protocol):
    """Function that computes shards and yields each result as it is done, in any order; calls `tick` in the caller's thread."""

    def __call__(self, job: Job, shards: Sequence[int], tick: Tick, /) -> Iterator[ShardResult]: ...


@dataclass(frozen=True)
class Threads:
    """Runs shards in `workers` threads; None: one per core, or a single one if the model is on an accelerator."""

    workers: int | None = None

    def __post_init__(self) -> None:
        check_workers(self.workers)

    def __call__(self, job: Job, shards: Sequence[int], tick: Tick, /) -> Iterator[ShardResult]:
        def work(shard: int, tell: Callable[[ShardResult | int], None]) -> ShardResult | int:
            return job.work(shard, tell)

        with closing(side_by_side(work, shards, self.workers or usual_workers(job.model.device))) as events:
            for event in events:
                if isinstance(event, int):
                    tick(event)
                else:
                    yield event
