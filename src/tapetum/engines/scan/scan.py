"""Runs all pictures of a data set through a network once, and keeps statistics of every unit with trackers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from tapetum import progress
from tapetum.engines.scan.job import Job
from tapetum.engines.scan.ledger import Ledger
from tapetum.engines.scan.local import Runner
from tapetum.engines.scan.plan import described
from tapetum.engines.scan.shards import ShardResult, States
from tapetum.engines.scan.states import check
from tapetum.engines.scan.trackers import Context
from tapetum.engines.signed import taps as taps_of
from tapetum.keeping.keyed import Key
from tapetum.models.extra import refuse_extra
from tapetum.types import DamagedError, ScanResult, TapetumError

SCHEMA = 1


def scan(job: Job, run: Runner, *, resume: bool = True) -> ScanResult:
    """Computes the shards of a job with the runner `run`, and returns the results of their merged states."""
    begun = time.perf_counter()
    refuse_extra(job.model.extra, "a scan shows it", job.model.name)
    if not resume and getattr(run, "shares", False):
        raise TapetumError("several ranks cannot clear what they share: delete the folder first, or give another")
    _prepare(job)
    identity = key_of(job)
    key = identity.hash
    done: set[int] = set()
    if job.ledger is not None:
        job.ledger.open(identity, resume=resume)
        done = job.ledger.done() & set(job.plan.shards)
    todo = [shard for shard in job.plan.shards if shard not in done]
    before = sum(len(job.plan.samples(shard)) for shard in done)
    fresh = _run(job, run, todo, before)
    if job.ledger is not None:
        deque(fresh, maxlen=0)  # computes all shards; their results go to the ledger
    if not getattr(run, "collects", True):  # only rank 0 of several returns the result
        return ScanResult({}, tuple(job.source.ids[: job.plan.count]), {}, {}, {}, key, before, ("rank 0 has the result",))
    notes: list[str] = []
    if job.ledger is None:
        return _whole(job, fresh, notes, key, before, begun)
    try:
        return _whole(job, _kept(job, job.ledger, run, notes, done), notes, key, before, begun)
    except TapetumError:
        raise
    except Exception:  # bad numbers in a foreign shard; a bug in tapetum would be raised again below
        alone = _kept(job, job.ledger, run, notes, set(job.plan.shards), thorough=True)
        return _whole(job, alone, notes, key, before, begun)


def _whole(job: Job, shards: Iterable[ShardResult], notes: list[str], key: str, resumed: int, begun: float) -> ScanResult:
    """Merges the states of all shards, and turns them into the result of the scan."""
    states, skipped, seconds = _folded(job, _same_kind(shards, notes))
    seconds["in all"] = time.perf_counter() - begun
    ids, contexts = job.source.ids[: job.plan.count], _contexts(job)
    results: dict[str, tuple[Any, ...]] = {}
    for layer, many in job.trackers.items():
        pairs = zip(many, states[layer], strict=True)
        results[layer] = tuple(one.result(state, contexts[layer]) for one, state in pairs)
    named = {ids[sample]: skipped[sample] for sample in sorted(skipped)}
    if len(named) == len(ids):
        raise TapetumError(f"none of the {len(ids)} pictures of {job.source.name} could be used: {next(iter(named.values()))}")
    if job.precision == "fast":
        notes = ["computed in bfloat16: scores differ from full precision in the third digit", *notes]
    taps = {layer: context.tap for layer, context in contexts.items()}
    return ScanResult(results, tuple(ids), named, taps, seconds, key, resumed, tuple(notes))


def _kept(
    job: Job, ledger: Ledger, run: Runner, notes: list[str], doubted: set[int], *, thorough: bool = False
) -> Iterator[ShardResult]:
    """Yields the ledger's shards; damaged or impossible ones, and those of another scan, are computed again, once.

    doubted    shards from before this run, whose states are checked; a check takes as long as a merge
    thorough   whether each doubted shard must also give a result by itself
    """
    damaged: list[int] = []
    empty, contexts = job.start(), _contexts(job) if thorough else None
    for shard in job.plan.shards:
        try:
            result = ledger.read(shard)
            if shard in doubted:
                check(job, result, shard, empty, contexts)
        except DamagedError as error:
            damaged.append(shard)
            notes.append(f"{error}; made again")
            ledger.forget(shard)
        else:
            yield result
    if damaged:
        before = job.plan.count - sum(len(job.plan.samples(shard)) for shard in damaged)
        deque(_run(job, run, damaged, before), maxlen=0)
    for shard in damaged:
        yield ledger.read(shard)


def _same_kind(results: Iterable[ShardResult], notes: list[str]) -> Iterator[ShardResult]:
    """Yields the results unchanged, and adds a note if they were computed on several kinds of processors."""
    kinds: dict[str, int] = {}
    for result in results:
        kinds[result.processor] = kinds.get(result.processor, 0) + 1
        yield result
    kinds.pop("", None)
    if len(kinds) > 1:
        several = "; ".join(f"{kind}: {count}" for kind, count in sorted(kinds.items()))
        notes.append(f"shards come from processors of several kinds, whose last bits differ ({several})")


def _prepare(job: Job) -> None:
    """Runs the trackers' start and the cached checks of the model once, before several threads would each run them."""
    job.start()
    if len(job.source.ids) == 0:
        raise TapetumError(f"{job.source.name} has no pictures")
    job.model.laid_out(job.model.blank())
    _taps(job)


def _taps(job: Job) -> dict[str, str]:
    """Returns {layer: "output", or "pre-activation" where values are read before the activation function}."""
    if not job.pre_activation:
        return dict.fromkeys(job.trackers, "output")
    return dict(taps_of(job.model, list(job.trackers)))


def key_of(job: Job) -> Key:
    """Returns the key of a scan: everything that its numbers depend on."""
    facts = {
        "weights": job.model.weights_sha256,
        "model": job.model.name,
        "preprocessing": repr(job.model.preprocessing),
        "data": job.source.fingerprint(),
        "pictures": job.plan.count,
        "batch": job.plan.batch,
        "shard": job.plan.shard,
        "trackers": described(job.trackers),
        "pre_activation": job.pre_activation,
        "precision": job.precision,
        "dtype": str(job.model.dtype).removeprefix("torch."),
        "torch": torch.__version__,
    }
    return Key(facts, SCHEMA)


def _run(job: Job, run: Runner, todo: Sequence[int], before: int) -> Iterable[ShardResult]:
    """Runs shards, and reports progress: pictures done, with pictures per second as the value."""
    begun, count = time.perf_counter(), 0
    progress.report(before, job.plan.count, "pictures")

    def tick(pictures: int) -> None:
        nonlocal count
        count += pictures
        progress.report(before + count, job.plan.count, "pictures", count / max(1e-9, time.perf_counter() - begun))

    yield from run(job, todo, tick)


def _folded(job: Job, results: Iterable[ShardResult]) -> tuple[States, dict[int, str], dict[str, float]]:
    """Merges all shards in pairs of equal size (1 + 1, 2 + 2, ...), so that each state is copied only a few times."""
    stack: list[tuple[int, States]] = []
    skipped: dict[int, str] = {}
    seconds: dict[str, float] = {}
    for result in results:
        stack.append((1, result.states))
        while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
            (n, b), (_, a) = stack.pop(), stack.pop()
            stack.append((2 * n, job.merge(a, b)))
        skipped.update(result.skipped)
        for what, spent in result.seconds.items():
            seconds[what] = seconds.get(what, 0.0) + spent
    states = job.start()
    for _, more in reversed(stack):
        states = job.merge(states, more)
    return states, skipped, seconds


def _contexts(job: Job) -> dict[str, Context]:
    """Returns {layer: facts that the results of its trackers carry}."""
    ids, tapped = job.source.ids[: job.plan.count], _taps(job)
    return {layer: Context(layer, ids, job.model.survey[layer].grid, tapped[layer]) for layer in job.trackers}
