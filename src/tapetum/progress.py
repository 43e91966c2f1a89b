"""Progress events: engines report them, and a watcher (terminal, notebook, web) decides what to draw.

    with watching(print):
        for batch in track(batches, total=len(batches), unit="batches"): ...

The watcher is a context variable: two threads can watch two runs, and functions need no argument for it.
A watcher stops the work by returning False; the work then ends with `Cancelled`. A watcher that takes its time pauses the work,
which then goes on as if nothing had happened. While it is called, `so_far` gives the result as it stands:

    with watching(lambda step: show(step.so_far()) if step.so_far else None):
        tapetum.visualize(model, "blocks.3:5")
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from tapetum.switches import during
from tapetum.types import Cancelled

T = TypeVar("T")

SoFar = Callable[[], Tensor]
"""Function that makes the result as it stands: pictures (n, 3, h, w) in [0, 1], or a method's map (n, c, h, w)."""

Change = Callable[[Tensor, tuple[int, ...]], Tensor]
"""Function of what was made so far and its rows of the result, that returns what is shown."""


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of work; `value` is a number worth showing, or None; `stage` names a part of a long job.

    so_far  makes the result as it stands, when asked: pictures (n, 3, h, w) in [0, 1], or a method's map (n, c, h, w); None:
            there is nothing to show yet. It is valid only while the watcher is called, since the work then goes on
    rows    the rows of the result that `so_far` gives, one number each: those of the current batch; empty: pictures on the way
            to the result that are no rows of it
    """

    done: int
    total: int
    unit: str
    value: float | None = None
    stage: str | None = None
    so_far: SoFar | None = field(default=None, compare=False, repr=False)
    rows: tuple[int, ...] = field(default=(), compare=False, repr=False)


Watcher = Callable[[Progress], bool | None]

_watcher: ContextVar[Watcher | None] = ContextVar("tapetum_progress", default=None)
_stage: ContextVar[str | None] = ContextVar("tapetum_stage", default=None)
_changes: ContextVar[tuple[Change, ...] | None] = ContextVar("tapetum_shown", default=())


@contextmanager
def watching(watcher: Watcher | None) -> Generator[None]:
    """Sends every progress event inside the block to `watcher`; with None, events are ignored."""
    with during(_watcher, watcher):
        yield


@contextmanager
def stage(name: str) -> Generator[None]:
    """Labels the events inside the block with the name of a part of the job; nested names are joined as "outer: inner"."""
    outer = _stage.get()
    with during(_stage, name if outer is None else f"{outer}: {name}"):
        yield


@contextmanager
def shown_as(change: Change) -> Generator[None]:
    """Passes what `so_far` gives inside the block through `change`, (tensor, rows) -> tensor."""
    changes = _changes.get()
    with during(_changes, None if changes is None else (*changes, change)):
        yield


@contextmanager
def hidden() -> Generator[None]:
    """Gives watchers no `so_far` inside the block, which makes something else than a part of the result."""
    with during(_changes, None):
        yield


def report(
    done: int, total: int, unit: str, value: float | None = None, so_far: SoFar | None = None, rows: Iterable[int] = ()
) -> None:
    """Emits one event; raises `Cancelled` if the watcher returns False.

    so_far  makes the result as it stands; costs nothing unless the watcher calls it
    rows    the rows of the result that it gives
    """
    watcher = _watcher.get()
    if watcher is None:
        return
    shown = tuple(rows)
    event = Progress(done, total, unit, value, _stage.get(), _changed(so_far, shown), shown)
    with watching(None):  # what the watcher does itself is none of this work's progress
        answer = watcher(event)
    if answer is False:
        raise Cancelled(f"stopped after {done} of {total} {unit}")


def _changed(so_far: SoFar | None, rows: tuple[int, ...]) -> SoFar | None:
    """Returns `so_far` followed by the changes of the blocks around, innermost first; what it makes is a copy."""
    changes = _changes.get()
    if so_far is None or changes is None:
        return None

    def changed() -> Tensor:
        made = so_far().detach().clone()
        for change in reversed(changes):
            made = change(made, rows)
        return made

    return changed


def track(
    items: Iterable[T],
    total: int,
    unit: str,
    size: Callable[[T], int] = lambda _: 1,
    so_far: SoFar | None = None,
    rows: Iterable[int] = (),
) -> Iterator[T]:
    """Yields the items and reports progress after the caller has handled each; `size(item)` is its number of units.

    so_far, rows: as of `report`.
    """
    done = 0
    report(0, total, unit)
    for item in items:
        yield item
        done += size(item)
        report(done, total, unit, None, so_far, rows)
