"""Runs work side by side in threads, each with a single torch thread, so that results have the same bits for any number.

Decoding and convolutions release Python's global lock, so threads can use all cores; they share the weights and start at
once. Two passes side by side are faster than one on two cores.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from tapetum.types import Cancelled, TapetumError

E = TypeVar("E")


def cores() -> int:
    """Returns the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_workers(device: torch.device) -> int:
    """Returns the number of threads that use a device well: one per core, or a single one for an accelerator."""
    return cores() if device.type == "cpu" else 1


def check_workers(workers: int | None) -> None:
    if workers is not None and workers < 1:
        raise TapetumError(f"workers must be at least 1, not {workers}")


def side_by_side(work: Callable[[int, Callable[[E], None]], E], todo: Sequence[int], workers: int) -> Generator[E]:
    """Yields the events of `work(i, tell)` for each i of `todo`: what it gives to `tell`, and last what it returns.

    Once the generator is closed, `tell` raises `Cancelled` in the worker's thread. An error in a worker is raised here.
    """
    events: queue.SimpleQueue[tuple[bool, E] | BaseException] = queue.SimpleQueue()
    stopped, threads, left = threading.Event(), torch.get_num_threads(), len(todo)

    def tell(event: E) -> None:
        if stopped.is_set():
            raise Cancelled("stopped")
        events.put((False, event))

    def one(i: int) -> None:
        try:
            if not stopped.is_set():
                events.put((True, work(i, tell)))
        except BaseException as error:  # after a stop nobody reads it
            events.put(error)

    pool = ThreadPoolExecutor(min(workers, left) or 1, initializer=torch.set_num_threads, initargs=(1,))
    try:
        for i in todo:
            pool.submit(one, i)
        while left:
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            is_last, what = event
            left -= is_last
            yield what
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
