"""Progress events: engines report them, and a watcher (terminal, notebook, web) decides what to draw.

    with watching(print):
        for batch in track(batches, total=len(batches), unit="batches"): ...

The watcher is a context variable: two threads can watch two runs, and functions need no argument for it.
A watcher stops the work by returning False; the work then ends with `Cancelled`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from tapetum.types import Cancelled

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of work; `value` is a number worth showing, or None; `stage` names a part of a long job."""

    done: int
    total: int
    unit: str
    value: float | None = None
    stage: str | None = None


Watcher = Callable[[Progress], bool | None]

_watcher: ContextVar[Watcher | None] = ContextVar("tapetum_progress", default=None)
_stage: ContextVar[str | None] = ContextVar("tapetum_stage", default=None)


@contextmanager
def watching(watcher: Watcher | None) -> Generator[None]:
    """Sends every progress event inside the block to `watcher`; with None, events are ignored."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


@contextmanager
def stage(name: str) -> Generator[None]:
    """Labels the events inside the block with the name of a part of the job; nested names are joined as "outer: inner"."""
    outer = _stage.get()
    token = _stage.set(name if outer is None else f"{outer}: {name}")
    try:
        yield
    finally:
        _stage.reset(token)


def report(done: int, total: int, unit: str, value: float | None = None) -> None:
    """Emits one event; raises `Cancelled` if the watcher returns False."""
    watcher = _watcher.get()
    if watcher is not None and watcher(Progress(done, total, unit, value, _stage.get())) is False:
        raise Cancelled(f"stopped after {done} of {total} {unit}")


def track(items: Iterable[T], total: int, unit: str, size: Callable[[T], int] = lambda _: 1) -> Iterator[T]:
    """Yields the items and reports progress after the caller has handled each; `size(item)` is its number of units."""
    done = 0
    report(0, total, unit)
    for item in items:
        yield item
        done += size(item)
        report(done, total, unit)
