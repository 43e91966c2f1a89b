"""Divides a scan among ranks, processes that torchrun or SLURM has started: each computes its share, then helps the others.

Ranks do not talk to each other: the shared ledger tells which shards are done. A rank that dies costs time, not the result.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from tapetum.engines.scan import Job, Ledger, ShardResult, Threads
from tapetum.engines.scan.shards import Tick
from tapetum.engines.threads import cores
from tapetum.types import Cancelled, TapetumError

LAUNCHERS = {"torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK"), "SLURM": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")}
"""{launcher: environment variables for this process's rank, the number of processes, and its rank on this computer}."""

LOOK_S = 2.0
"""Shortest time in seconds between two checks of which shards the other ranks have done."""


@dataclass(frozen=True)
class Ranks:
    """Runner for a scan that several processes share: `scan(..., run=Ranks(), out=...)` in each of them.

    Rank r of n computes the shards whose number is r modulo n, then any that others have not done yet, so that no rank waits
    for another, and shards of a rank that died are done as well. All ranks write to one ledger, a folder or URL that all can
    reach; rank 0 returns the result, the others an empty (false) one. The result has the same bits as with one process.

    workers      threads of this rank; None: its share of this computer's cores, or one if the model is on an accelerator
    environment  mapping with the launcher's environment variables
    """

    shares: ClassVar[bool] = True
    """Whether other processes may be writing to the same ledger."""

    workers: int | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def __post_init__(self) -> None:
        if found_launcher(self.environment) is None:
            names = " or ".join(f"{', '.join(names)} ({launcher})" for launcher, names in LAUNCHERS.items())
            raise TapetumError(f"no ranks here: {names} are not set; start with torchrun or srun, or leave Ranks out")
        if not 0 <= self.rank < self.size:
            raise TapetumError(f"rank {self.rank} of {self.size} makes no sense; ranks are 0 to {self.size - 1}")

    @property
    def rank(self) -> int:
        return self._number(0)

    @property
    def size(self) -> int:
        """Number of ranks, over all computers."""
        return self._number(1)

    @property
    def collects(self) -> bool:
        return self.rank == 0

    @property
    def device(self) -> str:
        """Accelerator of this rank, by its rank on this computer, such as "cuda:1"; "cpu" where there is none."""
        count = torch.cuda.device_count()
        return f"cuda:{self._number(2) % count}" if count else "cpu"

    def __call__(self, job: Job, shards: Sequence[int], tick: Tick, /) -> Iterator[ShardResult]:
        if job.ledger is None:
            raise TapetumError("ranks share their work through a ledger: give out=, a folder or URL that all of them can reach")
        threads = Threads(self.workers or self._threads(job))
        others = _Others(job, job.ledger, shards, tick)
        mine = [shard for shard in shards if shard % self.size == self.rank]
        yield from others.watched(threads, mine)
        while left := others.left():
            turn = left[self.rank * len(left) // self.size :] + left[: self.rank * len(left) // self.size]
            yield from others.helped(threads, turn[: threads.workers])

    def _threads(self, job: Job) -> int:
        if job.model.device.type != "cpu":
            return 1
        if found_launcher(self.environment) == "SLURM":
            return int(self.environment.get("SLURM_CPUS_PER_TASK", "1"))
        return max(1, cores() // int(self.environment.get("LOCAL_WORLD_SIZE", "1")))

    def _number(self, which: int) -> int:
        launcher = found_launcher(self.environment)
        return int(self.environment.get(LAUNCHERS[launcher][which], "0")) if launcher else -1


def found_launcher(environment: Mapping[str, str] = os.environ) -> str | None:
    """Returns the launcher that started this process as one of several, "torchrun" or "SLURM"; None if neither did."""
    for launcher, (rank, size, _) in LAUNCHERS.items():
        if environment.get(rank, "").isdecimal() and environment.get(size, "").isdecimal():
            return launcher
    return None


class _Others:
    """Watches the ledger for shards that other ranks have done, and reports them as progress."""

    def __init__(self, job: Job, ledger: Ledger, shards: Sequence[int], tick: Tick) -> None:
        self.job, self.ledger, self.tick = job, ledger, tick
        self.wanted, self.told = set(shards), set[int]()
        self.mine: set[int] = set()
        self.looked = time.monotonic()

    def left(self) -> list[int]:
        """Returns the numbers of shards that no rank has finished; reports those newly finished by others as progress."""
        done = self.ledger.done() & self.wanted
        for shard in sorted(done - self.told - self.mine):
            self.told.add(shard)
            self.tick(len(self.job.plan.samples(shard)))
        self.looked = time.monotonic()
        return sorted(self.wanted - done)

    def watched(self, threads: Threads, shards: list[int]) -> Iterator[ShardResult]:
        """Computes this rank's own shards, and checks from time to time what other ranks have done."""
        self.mine.update(shards)

        def tick(pictures: int) -> None:
            self.tick(pictures)
            if time.monotonic() - self.looked > LOOK_S:
                self.left()

        yield from threads(self.job, shards, tick) if shards else ()

    def helped(self, threads: Threads, shards: list[int]) -> Iterator[ShardResult]:
        """Computes shards of other ranks, and stops as soon as all of them are in the ledger."""

        def look(_: int) -> None:
            if time.monotonic() - self.looked > LOOK_S and not set(shards) & set(self.left()):
                raise _There

        try:
            yield from threads(self.job, shards, look)
        except _There:
            return


class _There(Cancelled):
    """Raised to stop computing shards that other ranks have meanwhile finished."""
