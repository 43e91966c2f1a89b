"""Progress of a job in stages: methods report their own steps, and the watcher gets one count for the whole job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

from tapetum.progress import Progress, report


class Stages:
    """Converts the progress of each stage to one rising count for the whole job, in thousandths of a stage.

    Reports to the watcher that was active when the object was made; that watcher may stop the job by returning False.
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
        if event.done == event.total and self.times > 1:  # one of several repetitions is finished
            self.begun, self.share, self.times = self.begun + step, self.share - step, self.times - 1

    @contextmanager
    def stage(self) -> Iterator[None]:
        """Marks the block as the next of `count` equal stages; it counts as finished at the end of the block."""
        end = int(self.begun) + 1.0
        yield
        self._reach(end)

    @contextmanager
    def part(self, share: float, times: int = 1) -> Iterator[None]:
        """Maps the progress of the block to a share (0 to 1) of the stage; its steps are expected to run `times` times."""
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
        if now > self.told:  # never backwards, if a method repeats its steps
            self.told = now
            self.outside.run(report, now, 1000 * self.count, "thousandths of the job")
