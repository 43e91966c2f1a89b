"""Jobs: work that streams its progress, shares the processor, and can be stopped, paused and continued."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch

from tapetum.progress import Progress, watching
from tapetum.studios.listening import Event, Listener
from tapetum.studios.refusals import Busy, Closing, NoSuchJob
from tapetum.studios.turns import Place, Turns
from tapetum.types import Cancelled, TapetumError

State = Literal["waiting", "running", "paused", "ended"]

MOST_WAITING, MOST_OF_ONE = 64, 12
"""Largest number of jobs at a time, of all clients and of one."""
MOST_PAUSED, MOST_PAUSED_OF_ALL, PAUSED_S = 4, 16, 900.0
"""Largest number of paused jobs of one client and of all, and seconds after which a paused job is stopped."""
CLOSE_S = 30.0
"""Seconds in which all jobs end when the studio is closed."""
TELL_S = 0.1
"""Least seconds between two reports of progress."""

log = logging.getLogger("tapetum.studio")


class Job:
    """One piece of work in a thread of its own.

    owner   the client that asked
    key     identifies the work: where its owner asks the same again, the answer is that of the same job
    work    computes the answer, as JSON; it may `tell` events and has to call `check` where it reports no progress
    shows   makes the event of a progress report's pictures, called at most every `every_s` seconds; None: no pictures
    """

    def __init__(self, owner: str, key: str, rank: int, work: Callable[[Job], bytes]) -> None:
        self.id, self.owner, self.key, self.work = secrets.token_hex(8), owner, key, work
        self.shows: Callable[[Progress], Event | None] | None = None
        self.every_s, self.paused_s = 0.25, PAUSED_S
        self.stopped = False
        self.place = Place(owner, rank, self._begin)
        self.listeners: list[Listener] = []
        self.thread: threading.Thread | None = None
        self.ended = threading.Event()
        self._turns: Turns | None = None
        self._free, self._aside, self._why = threading.Event(), False, ""
        self._told = self._shown = self._started = 0.0
        self._away = 0.0
        self._lock = threading.Lock()
        self._free.set()

    @property
    def state(self) -> State:
        if self.ended.is_set():
            return "ended"
        if not self._free.is_set():
            return "paused"
        return "waiting" if self.thread is None else "running"

    # --- its life, from other threads

    def start(self, turns: Turns) -> None:
        self._turns = turns
        turns.wait(self.place)

    def follow(self, listener: Listener) -> bool:
        """Gives all further events to a listener; returns False if the last one was told already."""
        with self._lock:
            if not self.ended.is_set():
                self.listeners.append(listener)
            return not self.ended.is_set()

    def stop(self) -> None:
        """Stops the work at its next report; a job without a thread ends at once."""
        with self._lock:
            self.stopped = True
            self._free.set()
            begun = self.thread is not None
        self.place.go.set()  # after `stopped`, at which a thread looks before it waits
        if not begun and self._turns is not None:
            self._turns.leave(self.place)  # from here on no thread is begun
            if self.thread is None:
                self._end(Event("stopped", {"message": "stopped before it began", "kind": "Cancelled"}))

    def pause(self) -> None:
        with self._lock:
            if not self.stopped and not self.ended.is_set():
                self._free.clear()

    def go_on(self) -> None:
        self._free.set()

    def tell(self, name: str, data: Mapping[str, Any] | bytes) -> None:
        for listener in tuple(self.listeners):
            listener.give(Event(name, data))

    # --- in its thread

    def check(self) -> None:
        """Raises `Cancelled` if the job was stopped."""
        if self.stopped:
            raise Cancelled("stopped")

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Gives the turn to others inside the block, whose work waits for something, such as a download; it is not paused."""
        assert self._turns is not None
        self._turns.leave(self.place)
        self._aside = True
        try:
            yield
        finally:
            self._aside = False
        self._turns.wait(self.place)
        self._await_turn()
        self.check()

    def _begin(self) -> None:
        with self._lock:
            self.thread = threading.Thread(target=self._run, name=f"tapetum-studio-{self.id}", daemon=True)
            self.thread.start()

    def _run(self) -> None:
        self._started = time.monotonic()
        try:
            with watching(self._watch):
                self._stand_still()
                self.check()
                answer = Event("result", self.work(self))
        except Cancelled as error:
            answer = Event("stopped", {"message": self._why or str(error), "kind": "Cancelled"})
        except TapetumError as error:
            answer = Event("refused", {"message": str(error), "kind": type(error).__name__})
        except Exception as error:
            answer = Event("refused", _in_words(error))
        finally:
            assert self._turns is not None
            self._turns.leave(self.place)
        self._end(answer)

    def _end(self, answer: Event) -> None:
        with self._lock:
            if self.ended.is_set():
                return
            self.ended.set()
        self.tell(answer.name, answer.data)

    def _watch(self, event: Progress) -> bool:
        """Follows the work: reports progress and pictures, and stands still while the job is paused or has no turn."""
        now, last = time.monotonic(), event.done >= event.total
        if now - self._told >= TELL_S or last:
            self._told = now
            self.tell("progress", self._progress(event, now))
        if self.shows is not None and event.so_far is not None and (now - self._shown >= self.every_s or event.done == 0):
            if (shown := self.shows(event)) is not None:
                self.tell(shown.name, shown.data)
            self._shown = time.monotonic()
        self._stand_still()
        return not self.stopped

    def _progress(self, event: Progress, now: float) -> dict[str, Any]:
        elapsed = now - self._started - self._away
        left = elapsed * (event.total - event.done) / event.done if 0 < event.done <= event.total else None
        rounded = None if left is None else round(left, 1)
        told = {"done": event.done, "total": event.total, "unit": event.unit, "stage": event.stage, "value": event.value}
        return {**told, "elapsed_s": round(elapsed, 1), "left_s": rounded}

    def _stand_still(self) -> None:
        """Waits while the job is paused, and where others come first."""
        if self._aside:
            return
        assert self._turns is not None
        before = time.monotonic()
        if self.state != "paused" and self._turns.hand_over(self.place):
            self._await_turn()
        while self.state == "paused" and not self.stopped:
            self._turns.leave(self.place)
            self.tell("progress", {"paused": True})
            if not self._free.wait(self.paused_s):
                self._why = f"stopped, since it was paused for {self.paused_s / 60:.2g} minutes"
                self.stop()
            self._turns.wait(self.place)
            self._await_turn()
        self._away += time.monotonic() - before

    def _await_turn(self) -> None:
        if not self.stopped:
            self.place.go.wait()


def _in_words(error: Exception) -> dict[str, str]:
    """Returns the refusal that an unexpected error becomes."""
    full = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
    if full:  # torch has no class of its own for a processor's memory
        text = "this does not fit into the free memory; ask for a smaller picture, fewer samples or a smaller network"
        return {"message": text, "kind": "MemoryError"}
    log.error("a job failed", exc_info=error)
    text = f"the studio failed at this ({type(error).__name__}); it goes on with other questions"
    return {"message": text, "kind": "Failure"}


class Jobs:
    """All jobs of a studio, with limits for all and for each client."""

    def __init__(self, slots: int, paused_s: float = PAUSED_S) -> None:
        self.turns, self.paused_s = Turns(slots), paused_s
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._closed = False

    def listen(self, job: Job) -> tuple[Job, Listener]:
        """Starts a job, or finds the one that does the same work already; returns it with a new listener."""
        listener = Listener()
        with self._lock:
            self._forget()
            same = (one for one in self._jobs.values() if (one.owner, one.key) == (job.owner, job.key))
            found = next((one for one in same if not one.stopped and one.state != "paused" and one.follow(listener)), None)
            if found is not None:
                return found, listener
            self._check(job.owner)
            job.follow(listener)
            listener.give(Event("queued", {"job": job.id, "before": self.turns.before(job.place)}))
            self._start(job)
        return job, listener

    def begin(self, job: Job) -> None:
        """Starts a job that goes on without a listener."""
        with self._lock:
            if not self._closed:
                self._start(job)

    def _start(self, job: Job) -> None:
        job.paused_s = self.paused_s
        self._jobs[job.id] = job
        job.start(self.turns)

    def leave(self, job: Job, listener: Listener) -> None:
        """Takes a listener away; a job that nobody listens to is stopped."""
        with self._lock:
            if listener in job.listeners:
                job.listeners.remove(listener)
            alone = not job.listeners
        if alone and not job.ended.is_set():
            job.stop()  # it counts until its thread has ended
        with self._lock:
            self._forget()

    def of(self, owner: str, name: str) -> Job:
        """Returns a client's own job."""
        with self._lock:
            job = self._jobs.get(name)
        if job is None or job.owner != owner or job.ended.is_set():
            raise NoSuchJob("there is no such job; it has ended, or another client began it")
        return job

    def pause(self, job: Job) -> None:
        with self._lock:
            paused = [one.owner for one in self._jobs.values() if one.state == "paused" and one is not job]
            if paused.count(job.owner) >= MOST_PAUSED:
                raise Busy(f"{MOST_PAUSED} of your jobs are paused already; continue one or stop it")
            if len(paused) >= MOST_PAUSED_OF_ALL:
                raise Busy(f"{MOST_PAUSED_OF_ALL} jobs of all visitors are paused already; stop this one, or let it go on")
            job.pause()

    def close(self) -> None:
        """Stops all jobs and waits for their threads."""
        with self._lock:
            self._closed = True
            jobs = list(self._jobs.values())
        for job in jobs:
            job.stop()
        until = time.monotonic() + CLOSE_S
        for job in jobs:
            if job.thread is not None:
                job.thread.join(max(0.0, until - time.monotonic()))

    def __len__(self) -> int:
        with self._lock:
            self._forget()
            return len(self._jobs)

    def _check(self, owner: str) -> None:
        if self._closed:
            raise Closing("the studio is closing; start it again")
        if len(self._jobs) >= MOST_WAITING:
            raise Busy(f"{MOST_WAITING} jobs wait already; try again when some are done")
        if sum(one.owner == owner for one in self._jobs.values()) >= MOST_OF_ONE:
            raise Busy(f"{MOST_OF_ONE} of your jobs wait already; stop some, or try again when they are done")

    def _forget(self) -> None:
        for name in [name for name, job in self._jobs.items() if job.ended.is_set()]:
            del self._jobs[name]
