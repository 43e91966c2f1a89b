"""Protocol of loggers, and a watcher that logs progress events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol, runtime_checkable

from tapetum.progress import Progress
from tapetum.types.refusals import imported


@runtime_checkable
class Logger(Protocol):
    """Logs named numbers at steps that never decrease."""

    def log(self, values: Mapping[str, float | int], step: int) -> None:
        """Logs some numbers at once; they are kept even if the program is killed right afterwards."""
        ...

    def close(self) -> None:
        """Closes the log."""
        ...


@contextmanager
def closing(loggers: Sequence[Logger]) -> Iterator[Sequence[Logger]]:
    """Closes each of the loggers when the block ends, also after an error."""
    with ExitStack() as stack:
        for logger in loggers:
            stack.callback(logger.close)
        yield loggers


class Throughput:
    """Watches progress events and logs the amount done, the rate and the seconds left, at most once in `every_s` seconds.

    The logged step is the amount done, so that a resumed run continues at the right step.
    """

    def __init__(
        self, loggers: Sequence[Logger], every_s: float | int = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.loggers, self.every_s, self.clock = loggers, every_s, clock
        self.last: float | None = None

    def __call__(self, event: Progress) -> None:
        """Logs an event if it is the last one, or if `every_s` seconds have passed."""
        now = self.clock()
        if event.done < event.total and self.last is not None and now - self.last < self.every_s:
            return
        self.last = now
        values: dict[str, float | int] = {event.unit: event.done}
        if event.value:
            values |= {f"{event.unit}_per_s": event.value, "seconds_left": (event.total - event.done) / event.value}
        self.log(values, event.done)

    def log(self, values: Mapping[str, float | int], step: int) -> None:
        """Logs the same numbers to all loggers."""
        for logger in self.loggers:
            logger.log(values, step)


def package(module: str, extra: str) -> Any:
    """Imports a package of an optional extra; if it is missing, the error names the extra to install."""
    return imported(module, f"logging to {extra} needs a package that is missing: pip install 'tapetum[{extra}]'")
