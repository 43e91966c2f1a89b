"""Progress of a job in stages: methods report their own steps, the watcher sees one count for the whole job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

from tapetum.progress import Progress, report


class Stages:
    """Turns the steps of each stage into one rising count for the whole job, in thousandths.

    Reports to the watcher at the time it was made, who may stop the job by returning False.
    """

    def __init__(self, count: int) -> None:
        self.count, self.told = count, -1
        self.begun, self.share, self.times = 0.0, 0.0, 1
        self.outside = copy_context()
        self._tell(0.0)

    def __call__(self, event: Progress) -> None:
        step = self.share / self.times
        inside = step * event.done / max(1, event.total)
        self._tell(self.begun + inside)
        if event.done == event.total and self.times > 1:  # one of several rounds is over
            self.begun, self.share, self.times = self.begun + step, self.share - step, self.times - 1

    @contextmanager
    def stage(self) -> Iterator[None]:
        """One of `count` equal stages, finished at the end of the block."""
        end = int(self.begun) + 1.0
        yield
        self._reach(end)

    @contextmanager
    def part(self, share: float, times: int = 1) -> Iterator[None]:
        """A share of the stage, in which the steps inside the block are repeated `times` times."""
        end = self.begun + share
        self.share, self.times = share, times
        yield
        self._reach(end)

    def finish(self) -> None:
        self._reach(float(self.count))

    def _reach(self, place: float) -> None:
        self.begun, self.share, self.times = place, 0.0, 1
        self._tell(place)

    def _tell(self, done: float) -> None:
        now = min(round(1000 * done), 1000 * self.count)
        if now > self.told:  # a method may go through its steps more than once
            self.told = now
            self.outside.run(report, now, 1000 * self.count, "thousandths of the job")
