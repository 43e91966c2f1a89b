"""Runs shards on this computer: one thread per worker, each with its own replica of the network.

Decoding and convolutions release Python's global lock, so threads can use all cores; they share the weights and start at
once. Each forward pass uses a single torch thread: two passes side by side are faster than one on two cores, and a pass then
gives the same bits for any number of workers.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from tapetum.engines.scan.job import Job
from tapetum.engines.scan.shards import ShardResult, Tick
from tapetum.types import Cancelled, TapetumError


@runtime_checkable
class Runner(Protocol):
    """Function that computes shards and yields each result as it is done, in any order; calls `tick` in the caller's thread."""

    def __call__(self, job: Job, shards: Sequence[int], tick: Tick, /) -> Iterator[ShardResult]: ...


def cores() -> int:
    """Returns the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Threads:
    """Runs shards in `workers` threads; None: one per core, or a single one if the model is on an accelerator."""

    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise TapetumError(f"workers must be at least 1, not {self.workers}")

    def __call__(self, job: Job, shards: Sequence[int], tick: Tick, /) -> Iterator[ShardResult]:
        workers = self.workers or (cores() if job.model.device.type == "cpu" else 1)
        events: queue.SimpleQueue[ShardResult | int | BaseException] = queue.SimpleQueue()
        stopped = threading.Event()
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(min(workers, len(shards)) or 1, initializer=torch.set_num_threads, initargs=(1,))
        try:
            for shard in shards:
                pool.submit(_work, job, shard, events, stopped)
            left = len(shards)
            while left:
                event = events.get()
                if isinstance(event, BaseException):
                    raise event
                if isinstance(event, int):
                    tick(event)
                else:
                    left -= 1
                    yield event
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)


def _work(job: Job, shard: int, events: queue.SimpleQueue[ShardResult | int | BaseException], stopped: threading.Event) -> None:
    def tick(pictures: int) -> None:
        if stopped.is_set():
            raise Cancelled("stopped")
        events.put(pictures)

    try:
        if not stopped.is_set():
            events.put(job.work(shard, tick))
    except BaseException as error:
        events.put(error)
