"""Settings of a scan: how many threads or which runner, how much of the data set, and where finished shards are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tapetum.data.streams import Source
from tapetum.engines.scan.job import Job
from tapetum.engines.scan.ledger import FolderLedger, Ledger
from tapetum.engines.scan.local import Runner, Threads
from tapetum.engines.scan.parquet import ParquetLedger
from tapetum.engines.scan.plan import BATCH, SHARD, Plan
from tapetum.engines.scan.scan import scan
from tapetum.engines.scan.trackers import Tracker
from tapetum.models.vision_model import VisionModel
from tapetum.types import ScanResult, TapetumError


@dataclass(frozen=True, eq=False)
class Scanning:
    """Settings of a scan other than model, data and trackers; only `limit`, `batch` and `shard` affect the results.

    workers  threads, each running its own forward passes; None: one per core
    run      a runner to use in place of threads
    out      a folder, a URL or a ledger for finished shards; None: they are kept in memory
    resume   False: shards in `out` are computed again
    limit    number of pictures to scan, from the start; None: all
    batch    pictures per forward pass
    shard    pictures per shard; None: about 64
    """

    workers: int | None = None
    run: Runner | None = None
    out: str | Path | Ledger | None = None
    resume: bool = True
    limit: int | None = None
    batch: int = BATCH
    shard: int | None = None

    def job(
        self,
        model: VisionModel,
        source: Source,
        trackers: Mapping[str, Sequence[Tracker]],
        *,
        pre_activation: bool = False,
        precision: Literal["exact", "fast"] = "exact",
    ) -> Job:
        """Returns the job of a scan; refuses settings that do not fit together."""
        if self.limit is not None and self.limit < 1:
            raise TapetumError(f"limit must be at least 1, not {self.limit}")
        if self.workers is not None and self.run is not None:
            raise TapetumError("workers is for this computer's threads; a runner brings its own number")
        count = len(source.ids) if self.limit is None else min(self.limit, len(source.ids))
        plan = Plan(count, self.batch, self.shard or max(self.batch, SHARD // max(1, self.batch) * self.batch))
        if plan.shard % plan.batch:
            raise TapetumError(f"a shard is whole batches: {plan.shard} is no multiple of {plan.batch}")
        if precision not in ("exact", "fast"):
            raise TapetumError(f'precision is "exact" or "fast", not {precision!r}')
        return Job(model, source, trackers, plan, pre_activation, precision, ledger_of(self.out))

    def scan(self, job: Job) -> ScanResult:
        return scan(job, self.run or Threads(self.workers), resume=self.resume)


def ledger_of(out: str | Path | Ledger | None) -> Ledger | None:
    """Returns the ledger for finished shards: for a folder, Parquet files at a URL, or the given ledger itself."""
    if isinstance(out, str) and "://" in out:
        return ParquetLedger(out)
    return FolderLedger(out) if isinstance(out, str | Path) else out
