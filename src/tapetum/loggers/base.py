"""The protocol, and the watcher that turns progress events into logged numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, runtime_checkable

from tapetum.progress import Progress
from tapetum.types.refusals import imported


@runtime_checkable
class Logger(Protocol):
    """Takes named numbers at steps that never go back."""

    def log(self, values: Mapping[str, float | int], step: int) -> None:
        """Logs some numbers at once: they are kept if the program is killed afterwards."""
        ...

    def close(self) -> None:
        """Ends the log."""
        ...


@contextmanager
def closing(loggers: Sequence[Logger]) -> Iterator[Sequence[Logger]]:
    """Closes each of them at the end of the block, on every path out of it."""
    with ExitStack() as stack:
        for logger in loggers:
            stack.callback(logger.close)
        yield loggers


class Throughput:
    """A watcher of the one event stream: how much is done, how quickly, seconds left; at most every `every_s` seconds.

    The step is the number of things done, so a run that goes on later goes on at the right place.
    """

    def __init__(
        self, loggers: Sequence[Logger], every_s: float | int = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.loggers, self.every_s, self.clock = loggers, every_s, clock
        self.last: float | None = None

    def __call__(self, event: Progress) -> None:
        """Logs the event if it is the last, or if it is time."""
        now = self.clock()
        if event.done < event.total and self.last is not None and now - self.last < self.every_s:
            return
        self.last = now
        values: dict[str, float | int] = {event.unit: event.done}
        if event.value:
            values |= {f"{event.unit}_per_s": event.value, "seconds_left": (event.total - event.done) / event.value}
        self.log(values, event.done)

    def log(self, values: Mapping[str, float | int], step: int) -> None:
        """Logs to all loggers."""
        for logger in self.loggers:
            logger.log(values, step)


def package(module: str, extra: str) -> Any:
    """A package of an extra; a refusal names the extra."""
    return imported(module, f"logging to {extra} needs a package that is missing: pip install 'tapetum[{extra}]'")
