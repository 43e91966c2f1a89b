"""Jobs: work that streams its progress, shares the processor, and can be stopped, paused and continued."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch

from tapetum.progress import Progress, watching
from tapetum.studios.listening import Event, Listener
from tapetum.studios.refusals import Busy, NoSuchJob
from tapetum.studios.turns import Place, Turns
from tapetum.types import Cancelled, TapetumError

State = Literal["waiting", "running", "paused", "ended"]

MOST_WAITING, MOST_OF_ONE = 64, 12
"""Largest number of jobs at a time, of all clients and of one."""
MOST_PAUSED, PAUSED_S = 4, 900.0
"""Largest number of one client's paused jobs, and seconds after which a paused job is stopped."""
TELL_S = 0.1
"""Least seconds between two reports of progress."""

log = logging.getLogger("tapetum.studio")


class Job:
    """One piece of work in a thread of its own.

    owner   the client that asked
    key     identifies the work: a second client that asks the same listens to the same job
    work    computes the answer, as JSON; it may `tell` events and has to call `check` where it reports no progress
    shows   makes the event of a progress report's pictures, called at most every `every_s` seconds; None: no pictures
    """

    def __init__(self, owner: str, key: str, rank: int, work: Callable[[Job], bytes]) -> None:
        self.id, self.owner, self.key, self.work = secrets.token_hex(8), owner, key, work
        self.state: State = "waiting"
        self.shows: Callable[[Progress], Event | None] | None = None
        self.every_s = 0.25
        self.stopped = False
        self._turns: Turns | None = None
        self._pause = threading.Event()
        self.place = Place(owner, rank, self._begin)
        self.listeners: list[Listener] = []
        self.thread: threading.Thread | None = None
        self.ended = threading.Event()
        self._told = self._shown = self._started = 0.0
        self._away = 0.0
        self._lock = threading.Lock()

    # --- its life, from other threads

    def start(self, turns: Turns) -> None:
        self._turns = turns
        turns.wait(self.place)

    def stop(self) -> None:
        """Stops the work at its next report; a job without a thread ends at once."""
        with self._lock:
            self.stopped = True
            never = self.thread is None
        self.place.go.set()
        self._pause.set()
        if never and self._turns is not None:
            self._turns.leave(self.place)
            if self.thread is None:
                self._end(Event("stopped", {"message": "stopped before it began"}))

    def pause(self) -> None:
        if self.state in ("waiting", "running"):
            self._pause.clear()
            self.state = "paused"

    def go_on(self) -> None:
        if self.state == "paused":
            self.state = "running"
            self._pause.set()

    def tell(self, name: str, data: Mapping[str, Any] | bytes) -> None:
        for listener in tuple(self.listeners):
            listener.give(Event(name, data))

    # --- in its thread

    def check(self) -> None:
        """Raises `Cancelled` if the job was stopped."""
        if self.stopped:
            raise Cancelled("stopped")

    def _begin(self) -> None:
        with self._lock:
            self.thread = threading.Thread(target=self._run, name=f"tapetum-studio-{self.id}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.state = "running" if self.state == "waiting" else self.state
        self._started = time.monotonic()
        try:
            with watching(self._watch):
                self._stand_still()
                self.check()
                answer = Event("result", self.work(self))
        except Cancelled as error:
            answer = Event("stopped", {"message": str(error)})
        except TapetumError as error:
            answer = Event("refused", {"message": str(error), "kind": type(error).__name__})
        except (torch.OutOfMemoryError, MemoryError):
            text = "this does not fit into the free memory; ask for a smaller picture, fewer samples or a smaller network"
            answer = Event("refused", {"message": text, "kind": "MemoryError"})
        except Exception as error:
            log.exception("a job failed")
            text = f"the studio failed at this ({type(error).__name__}); it goes on with other questions"
            answer = Event("refused", {"message": text, "kind": "Failure"})
        finally:
            assert self._turns is not None
            self._turns.leave(self.place)
        self._end(answer)

    def _end(self, answer: Event) -> None:
        self.state = "ended"
        self.tell(answer.name, answer.data)
        self.ended.set()

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
        assert self._turns is not None
        before = time.monotonic()
        if self.state == "paused" and not self.stopped:
            self._turns.leave(self.place)
            self.tell("progress", {"paused": True})
            if not self._pause.wait(PAUSED_S):
                self.stopped = True
            if not self.stopped:
                self._turns.wait(self.place)
                self.place.go.wait()
        elif self._turns.hand_over(self.place):
            self.place.go.wait()
        self._away += time.monotonic() - before


class Jobs:
    """All jobs of a studio, with limits for all and for each client."""

    def __init__(self, slots: int) -> None:
        self.turns = Turns(slots)
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._closed = False

    def listen(self, job: Job) -> tuple[Job, Listener]:
        """Starts a job, or finds the one that does the same work already; returns it with a new listener."""
        listener = Listener()
        with self._lock:
            self._forget()
            same = next((one for one in self._jobs.values() if one.key == job.key and not one.stopped), None)
            if same is not None and same.state != "paused":
                same.listeners.append(listener)
                if not same.ended.is_set():
                    return same, listener
                same.listeners.remove(listener)
            self._check(job.owner)
            self._jobs[job.id] = job
            job.listeners.append(listener)
        job.start(self.turns)
        listener.give(Event("queued", {"job": job.id, "before": self.turns.before(job.place)}))
        return job, listener

    def begin(self, job: Job) -> None:
        """Starts a job that goes on without a listener."""
        with self._lock:
            self._jobs[job.id] = job
        job.start(self.turns)

    def leave(self, job: Job, listener: Listener) -> None:
        """Takes a listener away; a job that nobody listens to is stopped."""
        with self._lock:
            if listener in job.listeners:
                job.listeners.remove(listener)
            alone = not job.listeners
            if alone:
                self._jobs.pop(job.id, None)
        if alone and not job.ended.is_set():
            job.stop()

    def of(self, owner: str, name: str) -> Job:
        """Returns a client's own job."""
        with self._lock:
            job = self._jobs.get(name)
        if job is None or job.owner != owner:
            raise NoSuchJob("there is no such job; it has ended, or another client began it")
        return job

    def pause(self, job: Job) -> None:
        with self._lock:
            paused = sum(one.state == "paused" and one.owner == job.owner for one in self._jobs.values())
        if paused >= MOST_PAUSED:
            raise Busy(f"{MOST_PAUSED} jobs are paused already; continue one or stop it")
        job.pause()

    def close(self) -> None:
        """Stops all jobs and waits for their threads."""
        with self._lock:
            self._closed = True
            jobs = list(self._jobs.values())
        for job in jobs:
            job.stop()
        for job in jobs:
            if job.thread is not None:
                job.thread.join(30)

    def __len__(self) -> int:
        with self._lock:
            self._forget()
            return len(self._jobs)

    def _check(self, owner: str) -> None:
        if self._closed:
            raise Busy("the studio is closing")
        if len(self._jobs) >= MOST_WAITING:
            raise Busy(f"{MOST_WAITING} jobs wait already; try again when some are done")
        if sum(one.owner == owner for one in self._jobs.values()) >= MOST_OF_ONE:
            raise Busy(f"{MOST_OF_ONE} of your jobs wait already; stop some, or try again when they are done")

    def _forget(self) -> None:
        for name in [name for name, job in self._jobs.items() if job.ended.is_set()]:
            del self._jobs[name]
