"""`Turns`: shares the processor among jobs, so that a quick question is answered while a long job goes on.

A job's thread holds a turn while it computes. At each of its progress events it looks whether another job should come first,
hands over its turn, and waits for the next one: the computation stands still there and goes on exactly where it was.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

SLICE_S = 0.5
"""Seconds after which a job lets another of the same importance go on."""


@dataclass(eq=False)
class Place:
    """A job's place among all jobs.

    owner     whose job it is: the work of several is shared out evenly
    rank      importance: 0 for questions that are answered within a second, larger for longer work
    begin     called, once, when the first turn is given
    """

    owner: str
    rank: int
    begin: Callable[[], None]
    number: int = 0
    since: float = 0.0
    begun: bool = False
    go: threading.Event = field(default_factory=threading.Event)


class Turns:
    """Gives at most `slots` turns at a time: first by rank, then to the owner with the fewest, then in order of arrival."""

    def __init__(self, slots: int) -> None:
        self._slots, self._count, self._lock = slots, itertools.count(), threading.Lock()
        self._waiting: list[Place] = []
        self._running: list[Place] = []
        self._given: Counter[str] = Counter()

    def wait(self, place: Place) -> None:
        """Adds a job to those that wait for a turn; returns at once."""
        with self._lock:
            place.number = next(self._count)
            place.go.clear()
            self._waiting.append(place)
            self._share()

    def leave(self, place: Place) -> None:
        """Takes a job out: its turn goes to another."""
        with self._lock:
            for some in (self._waiting, self._running):
                if place in some:
                    some.remove(place)
            self._share()

    def hand_over(self, place: Place) -> bool:
        """Lets another job come first if one should; returns whether the caller has to wait for `place.go`."""
        with self._lock:
            mine = place.rank, time.monotonic() - place.since >= SLICE_S
            if place not in self._running or not any((one.rank, False) < mine for one in self._waiting):
                return False
            self._running.remove(place)
            place.number = next(self._count)
            place.go.clear()
            self._waiting.append(place)
            self._share()
            return not place.go.is_set()

    def before(self, place: Place) -> int:
        """Returns the number of jobs that come before one that waits."""
        with self._lock:
            if place not in self._waiting:
                return 0
            return sum(self._order(one) < self._order(place) for one in self._waiting) + len(self._running)

    def _order(self, place: Place) -> tuple[int, int, int]:
        return place.rank, self._given[place.owner], place.number

    def _share(self) -> None:
        while self._waiting and len(self._running) < self._slots:
            place = min(self._waiting, key=self._order)
            self._waiting.remove(place)
            self._running.append(place)
            self._given[place.owner] += 1
            if len(self._given) > 4096:  # owners come and go
                self._given.clear()
            place.since = time.monotonic()
            place.go.set()
            if not place.begun:
                place.begun = True
                place.begin()
