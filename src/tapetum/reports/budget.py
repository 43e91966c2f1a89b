"""`methods="best"`: runs as many methods as a time budget allows, cheap ones first, each within a share of the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tapetum.progress import Progress, Watcher, watching
from tapetum.registry import methods
from tapetum.types import Cancelled, MethodError

SHARE = 0.5
"""Share of the remaining time for one method and its evidence, so that a slow method leaves time for others."""


class OutOfTimeError(MethodError):
    """Raised when a method does not finish within its share of the budget."""


class Budget:
    """A time budget in seconds for all methods together; it starts when the object is made."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.clock = seconds, clock
        self.end = clock() + seconds

    @contextmanager
    def share(self, watcher: Watcher) -> Iterator[None]:
        """Ends the block with `OutOfTimeError` at the first progress event after the block's share of the remaining time."""
        begun = self.clock()
        end = begun + max(0.0, SHARE * (self.end - begun))
        stopped = False

        def limited(event: Progress) -> bool | None:
            nonlocal stopped
            answer = watcher(event)
            stopped = event.done < event.total and self.clock() > end
            return False if stopped else answer

        try:
            if begun >= self.end:
                raise OutOfTimeError(f"the {self.seconds:g} s were over before its turn")
            with watching(limited):
                yield
        except Cancelled as error:
            if not stopped:
                raise
            raise OutOfTimeError(f"stopped after {self.clock() - begun:.0f} s: not done in its share of the time") from error


def cheap_first(first: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of all attribution methods: those in `first`, then those with few passes, then those with many."""
    rows = [method for method in methods(kind="attribution") if "baseline" not in method.laws]
    rows.sort(key=lambda method: len({"forward_only", "sampled"} & method.laws))
    return tuple(dict.fromkeys([*first, *(method.name for method in rows)]))
