"""Jobs share the processor fairly, and stop, pause and go on whenever they are told to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from asking import until

from tapetum.progress import report
from tapetum.studios import turns
from tapetum.studios.jobs import MOST_OF_ONE, MOST_PAUSED, MOST_WAITING, Job, Jobs
from tapetum.studios.listening import Event, Listener
from tapetum.studios.refusals import Busy, Closing, NoSuchJob
from tapetum.studios.turns import SLICE_S


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    some = Jobs(slots=1)
    yield some
    some.close()
    assert not [one.name for one in threading.enumerate() if one.name.startswith("tapetum-studio-")]


class Steps:
    """Work of many short steps, of which it keeps count."""

    def __init__(self, n: int = 10**6, step_s: float = 0.005) -> None:
        self.n, self.step_s, self.done, self.times = n, step_s, 0, list[float]()

    def __call__(self, _: Job) -> bytes:
        for i in range(self.n):
            report(i, self.n, "steps")
            time.sleep(self.step_s)
            self.done = i + 1
            self.times.append(time.monotonic())
        return b"%d" % self.done


def begun(jobs: Jobs, work: Callable[[Job], bytes], owner: str = "me", rank: int = 1, key: str | None = None) -> Job:
    job = Job(owner, key or str(id(work)), rank, work)
    jobs.begin(job)
    return job


def test_a_stopped_job_ends_although_others_come_first(jobs: Jobs) -> None:
    """It must not line up for a turn once more: the other, which is more important, never ends."""
    first, other = Steps(), Steps()
    job = begun(jobs, first)
    until(lambda: first.done)
    begun(jobs, other, "other", rank=0)
    until(lambda: other.done)
    job.stop()
    assert job.ended.wait(1)


def test_a_job_that_has_not_begun_is_stopped_at_once_and_never_begins(jobs: Jobs) -> None:
    running, never = Steps(), Steps()
    begun(jobs, running, rank=0)
    until(lambda: running.done)
    job = begun(jobs, never)
    job.stop()
    assert job.ended.is_set()
    assert (job.thread, never.done, job.state) == (None, 0, "ended")


def test_a_paused_job_stands_still_and_lets_others_work(jobs: Jobs) -> None:
    first, other = Steps(200), Steps(20)
    job = begun(jobs, first)
    until(lambda: first.done)
    jobs.pause(job)
    second = begun(jobs, other, "other", rank=2)
    assert second.ended.wait(5)
    at = first.done
    time.sleep(0.1)
    assert (first.done, job.state) == (at, "paused")
    job.go_on()
    assert job.ended.wait(10)
    assert first.done == 200


def test_a_job_that_waits_can_be_paused_and_begins_when_it_goes_on(jobs: Jobs) -> None:
    running, later = Steps(30), Steps(3)
    begun(jobs, running, rank=0)
    until(lambda: running.done)
    job = begun(jobs, later)
    jobs.pause(job)
    until(lambda: running.done == 30)
    time.sleep(0.1)
    assert (later.done, job.state) == (0, "paused")
    job.go_on()
    assert job.ended.wait(5)
    assert later.done == 3


def test_a_pause_that_nobody_ends_is_ended(jobs: Jobs) -> None:
    jobs.paused_s = 0.2
    work = Steps()
    job = begun(jobs, work)
    until(lambda: work.done)
    jobs.pause(job)
    assert job.ended.wait(2)
    assert job.thread is not None
    job.thread.join(2)
    assert not job.thread.is_alive()


@pytest.mark.parametrize("turn", range(20))
def test_pausing_and_stopping_at_once_ends_the_job(jobs: Jobs, turn: int) -> None:
    """Several threads pause, continue and stop: whatever comes first, a stopped job does not stand still."""
    work = Steps(step_s=0.0005)
    job = begun(jobs, work)
    hands = [threading.Thread(target=act) for _ in range(3) for act in (job.pause, job.go_on)]
    hands.insert(turn % 7, threading.Thread(target=job.stop))
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    assert job.ended.wait(2)


def test_long_work_goes_on_while_quick_questions_never_end(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice for each `PATIENCE_S` of waiting, although every question is more important."""
    monkeypatch.setattr(turns, "PATIENCE_S", 0.5)
    long = Steps()
    begun(jobs, long, "patient", rank=2)
    until(lambda: long.done)
    ending = threading.Event()

    def ask() -> None:
        while not ending.is_set():
            quick = begun(jobs, Steps(50), "hasty", rank=0)
            begun(jobs, Steps(50), "hasty", rank=0)
            quick.ended.wait(5)

    asking = threading.Thread(target=ask)
    asking.start()
    at = len(long.times)
    time.sleep(0.5 + 2 * SLICE_S)
    ending.set()
    asking.join()
    assert len(long.times) - at > 0.3 * SLICE_S / long.step_s


def test_a_newcomer_shares_and_does_not_take_all(jobs: Jobs) -> None:
    """Who worked for long already keeps half: the counts of turns are not held against anybody."""
    old, new = Steps(step_s=0.002), Steps(step_s=0.002)
    begun(jobs, old, "old")
    for _ in range(30):
        begun(jobs, Steps(1), "old", rank=0).ended.wait(5)
    at = old.done
    begun(jobs, new, "new")
    time.sleep(5 * SLICE_S)
    assert 0.25 < (old.done - at) / (old.done - at + new.done) < 0.75


def test_turns_are_shared_by_owner_and_not_by_number_of_jobs(jobs: Jobs) -> None:
    ended: list[str] = []

    def work(name: str) -> Callable[[Job], bytes]:
        def run(_: Job) -> bytes:
            time.sleep(0.01)
            ended.append(name)
            return b"1"

        return run

    hold = Steps()
    first = begun(jobs, hold, "holding", rank=0)
    until(lambda: hold.done)
    for _ in range(10):
        begun(jobs, work("many"), "many")
    begun(jobs, work("one"), "one")
    first.stop()
    until(lambda: len(ended) == 11)
    assert ended.index("one") <= 2
    assert ended.count("many") == 10


def test_others_work_while_a_job_waits_aside(jobs: Jobs) -> None:
    download = threading.Event()

    def load(job: Job) -> bytes:
        with job.aside():
            report(0, 1, "files")
            download.wait(10)
        return b"1"

    loading = begun(jobs, load, rank=0)
    until(lambda: loading.thread)
    other = begun(jobs, Steps(3), "other")
    assert other.ended.wait(2)
    download.set()
    assert loading.ended.wait(2)


def test_a_job_that_is_paused_while_aside_holds_up_nothing(jobs: Jobs) -> None:
    """Inside `aside` it may hold a lock that others want: it stands still only afterwards."""
    inside, after = threading.Event(), Steps(3)

    def load(job: Job) -> bytes:
        with job.aside():
            jobs.pause(job)
            report(0, 1, "files")
            inside.set()
        return after(job)

    job = begun(jobs, load)
    assert inside.wait(2)
    time.sleep(0.1)
    assert after.done == 0
    job.go_on()
    assert job.ended.wait(2)


def test_one_of_two_listeners_leaves_and_the_other_gets_the_answer(jobs: Jobs) -> None:
    async def both() -> list[str]:
        job, one = jobs.listen(Job("me", "same", 1, Steps(40)))
        same, other = jobs.listen(Job("me", "same", 1, Steps(40)))
        assert same is job
        jobs.leave(job, one)
        return [event.name async for event in other.events() if event is not None]

    assert asyncio.run(both())[-1] == "result"


def test_whoever_comes_at_the_last_moment_gets_an_answer(jobs: Jobs) -> None:
    """Between a job's last event and its end nobody may be added: such a listener would wait for ever."""

    async def ask(i: int) -> str:
        job, listener = jobs.listen(Job("me", f"same {i // 4}", 0, Steps(1, 0.0002)))
        try:
            async for event in listener.events():
                if event is not None and event.name == "result":
                    return event.name
        finally:
            jobs.leave(job, listener)
        return ""

    async def many() -> None:
        for i in range(100):
            waiting = [asyncio.create_task(ask(4 * i + j)) for j in range(4)]
            await asyncio.sleep(0.0003 * (i % 5))
            assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == ["result"] * 4

    asyncio.run(many())


def test_a_stream_begins_with_its_place_in_the_queue(jobs: Jobs) -> None:
    async def names() -> list[Event]:
        hold = Steps()
        begun(jobs, hold, "other", rank=0)
        while not hold.done:
            await asyncio.sleep(0.01)
        made = [jobs.listen(Job("me", str(i), 1, Steps(1))) for i in range(3)]
        firsts = [await anext(aiter(listener.events())) for _, listener in made]
        for job, listener in made:
            jobs.leave(job, listener)
        return [one for one in firsts if one is not None]

    first = asyncio.run(names())
    assert [one.name for one in first] == ["queued"] * 3
    assert [dict(one.data)["before"] for one in first if not isinstance(one.data, bytes)] == [1, 2, 3]


def test_limits_of_one_and_of_all(jobs: Jobs) -> None:
    async def fill() -> None:
        for i in range(MOST_OF_ONE):
            jobs.listen(Job("me", str(i), 1, Steps()))
        with pytest.raises(Busy, match=f"{MOST_OF_ONE} of your jobs"):
            jobs.listen(Job("me", "more", 1, Steps()))
        for i in range(MOST_WAITING - MOST_OF_ONE):
            jobs.listen(Job(f"other {i}", str(i), 1, Steps()))
        with pytest.raises(Busy, match=f"{MOST_WAITING} jobs wait already"):
            jobs.listen(Job("somebody", "more", 1, Steps()))

    asyncio.run(fill())
    assert len(jobs) == MOST_WAITING


def test_a_client_pauses_a_few_jobs_only(jobs: Jobs) -> None:
    some = [begun(jobs, Steps()) for _ in range(MOST_PAUSED + 1)]
    for job in some[:-1]:
        jobs.pause(job)
    jobs.pause(some[0])  # once more: it is paused already
    with pytest.raises(Busy, match="continue one or stop it"):
        jobs.pause(some[-1])
    assert some[-1].state != "paused"
    some[0].go_on()
    jobs.pause(some[-1])


def test_jobs_that_were_left_count_until_they_have_ended(jobs: Jobs) -> None:
    """Else a client that comes and goes would start any number of threads that take a while to stop."""
    free = threading.Event()

    async def come_and_go() -> None:
        for i in range(MOST_OF_ONE):
            job, listener = jobs.listen(Job("me", str(i), 1, lambda job: b"%d" % free.wait(10)))
            while job.place.begun and job.thread is None:
                await asyncio.sleep(0.01)
            jobs.leave(job, listener)
        assert len(jobs) == 1  # the others had not begun, and are gone

    asyncio.run(come_and_go())
    free.set()
    until(lambda: len(jobs) == 0)


def test_a_job_of_another_or_one_that_ended_is_not_there(jobs: Jobs) -> None:
    work = Steps()
    job = begun(jobs, work)
    assert jobs.of("me", job.id) is job
    with pytest.raises(NoSuchJob):
        jobs.of("other", job.id)
    job.stop()
    assert job.ended.wait(2)
    with pytest.raises(NoSuchJob):
        jobs.of("me", job.id)


def test_closing_ends_jobs_that_run_wait_and_stand_still_and_takes_no_more(jobs: Jobs) -> None:
    some = [begun(jobs, Steps(), f"owner {i}") for i in range(6)]
    until(lambda: some[0].thread)
    jobs.pause(some[0])
    jobs.pause(some[3])
    time.sleep(0.1)
    began = time.monotonic()
    jobs.close()
    assert time.monotonic() - began < 2
    assert all(job.ended.is_set() for job in some)

    async def more() -> None:
        with pytest.raises(Closing, match="start it again"):
            jobs.listen(Job("me", "more", 1, Steps()))

    asyncio.run(more())


@pytest.mark.parametrize("ticks", range(8))
def test_a_stream_is_ended_also_while_an_event_arrives(ticks: int) -> None:
    """A visitor may vanish in the very moment of an event: the stream that then goes on would keep its job for ever."""

    async def both() -> bool:
        listener = Listener()

        async def read() -> None:
            async for _ in listener.events():
                pass

        reading = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        listener.give(Event("progress", {}))
        for _ in range(ticks):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading], timeout=1)
        ended = reading.cancelled()
        reading.cancel()
        return ended

    assert asyncio.run(both())
