"""`Turns`: shares the processor among jobs, so that a quick question is answered while a long job goes on.

A job's thread holds a turn while it computes. At each of its progress events it looks whether another job should come first,
hands over its turn, and waits for the next one: the computation stands still there and goes on exactly where it was.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

SLICE_S = 0.5
"""Seconds after which a job lets another of the same importance go on."""
PATIENCE_S = 3.0
"""Seconds of waiting after which a job gets one turn before all others: quick questions never stop long work."""


@dataclass(eq=False)
class Place:
    """A job's place among all jobs.

    owner     whose job it is: the work of several is shared out evenly
    rank      importance: 0 for questions that are answered within a second, larger for longer work
    begin     called, once, when the first turn is given
    since     time at which it began to wait, or got its turn
    now       importance in the turn that it has
    """

    owner: str
    rank: int
    begin: Callable[[], None]
    number: int = 0
    since: float = 0.0
    now: int = 0
    begun: bool = False
    go: threading.Event = field(default_factory=threading.Event)


class Turns:
    """Gives at most `slots` turns at a time: first by rank, then to the owner with the fewest, then in order of arrival.

    Who comes starts with at least as many turns as the fewest of those who are here: to have come late is no advantage.
    """

    def __init__(self, slots: int) -> None:
        self._slots, self._count, self._lock = slots, itertools.count(), threading.Lock()
        self._waiting: list[Place] = []
        self._running: list[Place] = []
        self._given: Counter[str] = Counter()

    def wait(self, place: Place) -> None:
        """Adds a job to those that wait for a turn; returns at once."""
        with self._lock:
            self._line_up(place)

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
            mine = place.now, time.monotonic() - place.since >= SLICE_S
            if place not in self._running or not any((self._rank(one), False) < mine for one in self._waiting):
                return False
            self._running.remove(place)
            self._line_up(place)
            return not place.go.is_set()

    def before(self, place: Place) -> int:
        """Returns the number of jobs that come before one that waits, or would wait now."""
        with self._lock:
            if place in self._running:
                return 0
            number = place.number if place in self._waiting else math.inf
            mine = (self._rank(place), max(self._fewest(), self._given[place.owner]), number)
            full = len(self._running) if len(self._running) >= self._slots else 0
            return full + sum(self._order(one) < mine for one in self._waiting)

    def _line_up(self, place: Place) -> None:
        place.number, place.since = next(self._count), time.monotonic()
        place.go.clear()
        fewest = self._fewest()
        self._given = Counter({owner: n for owner, n in self._given.items() if n > fewest or owner in self._owners()})
        self._given[place.owner] = max(fewest, self._given[place.owner])
        self._waiting.append(place)
        self._share()

    def _owners(self) -> set[str]:
        return {one.owner for one in (*self._waiting, *self._running)}

    def _fewest(self) -> int:
        return min((self._given[owner] for owner in self._owners()), default=0)

    def _rank(self, place: Place) -> int:
        waited = place in self._waiting and time.monotonic() - place.since > PATIENCE_S
        return 0 if waited else place.rank

    def _order(self, place: Place) -> tuple[int, int, int]:
        return self._rank(place), self._given[place.owner], place.number

    def _share(self) -> None:
        while self._waiting and len(self._running) < self._slots:
            place = min(self._waiting, key=self._order)
            place.now = self._rank(place)
            self._waiting.remove(place)
            self._running.append(place)
            self._given[place.owner] += 1
            place.since = time.monotonic()
            place.go.set()
            if not place.begun:
                place.begun = True
                place.begin()
