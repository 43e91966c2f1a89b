"""Processes that torchrun or SLURM has started: each takes its share of the shards, and what is left over when it is done.

Nobody talks to anybody: the shared ledger says what is done. A rank that dies costs time, not the result.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from tapetum.engines.scan import Job, Ledger, ShardResult, Threads
from tapetum.engines.scan.local import cores
from tapetum.engines.scan.shards import Tick
from tapetum.types import Cancelled, TapetumError

LAUNCHERS = {
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "SLURM": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
}
"""{launcher: its variables for the number of this process, of all, and of this one on this computer}."""

LOOK_S = 2.0
"""Seconds between two looks at what the other ranks have done."""


@dataclass(frozen=True)
class Ranks:
    """This process as one of several that share the work; a runner for `scan(..., run=Ranks(), out=...)`.

    Rank r of n takes the shards whose number is r modulo n, then helps with what others have not done yet, so none waits
    for another and a rank that died is made up for. All write to one ledger, a folder or URL that all can reach; rank 0
    returns the result, the others an empty one, which is false. The bits are those of one process.

    workers      threads of this rank; None: its share of this computer's cores, one on an accelerator
    environment  where the launcher's variables are read from
    """

    shares: ClassVar[bool] = True
    """Others may be at work on the same ledger."""

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
        """Number of processes."""
        return self._number(1)

    @property
    def collects(self) -> bool:
        return self.rank == 0

    @property
    def device(self) -> str:
        """The accelerator of this rank, by its number on this computer; "cpu" where there is none."""
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
    """Name of the launcher that started this process as one of several, torchrun or SLURM; None without one."""
    for launcher, (rank, size, _) in LAUNCHERS.items():
        if environment.get(rank, "").isdecimal() and environment.get(size, "").isdecimal():
            return launcher
    return None


class _Others:
    """Shards that all ranks together have done, by the ledger; reported as progress."""

    def __init__(self, job: Job, ledger: Ledger, shards: Sequence[int], tick: Tick) -> None:
        self.job, self.ledger, self.tick = job, ledger, tick
        self.wanted, self.told = set(shards), set[int]()
        self.mine: set[int] = set()
        self.looked = time.monotonic()

    def left(self) -> list[int]:
        """The shards that nobody has done."""
        done = self.ledger.done() & self.wanted
        for shard in sorted(done - self.told - self.mine):
            self.told.add(shard)
            self.tick(len(self.job.plan.samples(shard)))
        self.looked = time.monotonic()
        return sorted(self.wanted - done)

    def watched(self, threads: Threads, shards: list[int]) -> Iterator[ShardResult]:
        """Works on this rank's share and looks at the others' now and then."""
        self.mine.update(shards)

        def tick(pictures: int) -> None:
            self.tick(pictures)
            if time.monotonic() - self.looked > LOOK_S:
                self.left()

        yield from threads(self.job, shards, tick) if shards else ()

    def helped(self, threads: Threads, shards: list[int]) -> Iterator[ShardResult]:
        """Works on shards of others until all of them are there."""

        def look(_: int) -> None:
            if time.monotonic() - self.looked > LOOK_S and not set(shards) & set(self.left()):
                raise _There

        try:
            yield from threads(self.job, shards, look)
        except _There:
            return


class _There(Cancelled):
    """Others have done what this rank was helping with."""
