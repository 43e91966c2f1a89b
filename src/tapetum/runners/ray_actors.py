"""Runs the shards of a scan on the machines of a Ray cluster, with one actor per worker. The only file that imports ray."""

from __future__ import annotations

import pickle
import socket
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from tapetum.engines.scan import Job, ShardResult
from tapetum.engines.scan.shards import Tick
from tapetum.engines.threads import check_workers, cores
from tapetum.runners.allocator import keep_large_blocks
from tapetum.types import TapetumError
from tapetum.types.refusals import imported

TRIES = 3
"""Number of workers that die over one shard before the scan fails."""

REACH_S = 10.0
"""Seconds to wait for an answer of a cluster."""

LOOK_S = 1.0
"""Seconds between progress reports when no shard is finished, so that a watcher can stop the work."""


class Worker:
    """Process of a Ray actor: holds the job and uses one torch thread, so that its results have the same bits as elsewhere."""

    def __init__(self, path: Sequence[str], job: bytes) -> None:
        torch.set_num_threads(1)
        keep_large_blocks()
        sys.path += [place for place in path if place not in sys.path]  # so that the caller's own modules are found
        self.job: Job = pickle.loads(job)

    def work(self, shard: int) -> ShardResult:
        """Computes a shard; its states are written to the ledger if there is one, else returned."""
        return self.job.work(shard)


@dataclass(frozen=True)
class Ray:
    """Runner that computes shards in Ray actors: `scan(..., run=Ray("auto"))`.

    Results are the same as with threads, to the last bit on machines of one kind. Each free actor gets the next shard; if an
    actor dies, a new one gets its shard. Without a ledger (`out=`), results are sent through Ray; with one, each worker writes
    to it, so all machines must be able to reach its folder or URL.

    address  "auto": the cluster that this machine belongs to; "ray://host:10001" or "host:6379": that cluster; None or
             "local": a new cluster on this computer, which ends with the scan
    workers  number of actors, each with one core (or one accelerator, if the model is on one); None: all that the cluster has
    """

    address: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        check_workers(self.workers)

    def __call__(self, job: Job, shards: Sequence[int], tick: Tick, /) -> Iterator[ShardResult]:
        if not shards:
            return
        ray = imported("ray", "Ray is missing: pip install 'tapetum[ray]'")
        with self._cluster(ray):
            needs = "CPU" if job.model.device.type == "cpu" else "GPU"
            workers = self.workers or max(1, int(ray.cluster_resources().get(needs, 1)))
            pool = _Pool(ray, job, min(workers, len(shards)))
            try:
                yield from pool.results(deque(shards), tick)
            finally:
                pool.stop()

    @contextmanager
    def _cluster(self, ray: Any) -> Iterator[None]:
        """Connects to a cluster or starts one; at the end, shuts down only what it started."""
        if ray.is_initialized():
            yield
            return
        local = self.address in (None, "local")
        if not local:
            _reach(str(self.address))
        size = {"num_cpus": self.workers or cores(), "include_dashboard": False} if local else {}
        try:
            ray.init(address="local" if local else self.address, log_to_driver=False, configure_logging=False, **size)
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = "Ray cannot start here" if local else f"no Ray cluster answers at {self.address}"
            raise TapetumError(f"{where} ({' '.join(str(error).split())[:200]}); see `ray status`") from error
        try:
            yield
        finally:
            ray.shutdown()


def _reach(address: str) -> None:
    """Refuses an address where nothing answers within `REACH_S` seconds; Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return  # "auto"
    try:
        socket.create_connection((host, int(port)), REACH_S).close()
    except OSError as error:
        reason = error.strerror or "no answer"
        raise TapetumError(f"no Ray cluster answers at {address} ({reason}); see `ray status` there") from error


class _Pool:
    """Pool of a scan's Ray actors, with the shard that each is working on."""

    def __init__(self, ray: Any, job: Job, workers: int) -> None:
        self.ray, self.job = ray, job
        with by_value(ray):
            self.kept = ray.put(ray.cloudpickle.dumps(job))
        self.actor_class = ray.remote(num_cpus=1, num_gpus=int(job.model.device.type != "cpu"))(Worker)
        self.checked = set[Any]()
        self.actors = [self._actor() for _ in range(workers)]
        self.busy: dict[Any, tuple[Any, int]] = {}

    def _actor(self) -> Any:
        return self.actor_class.remote(sys.path, self.kept)

    def results(self, left: deque[int], tick: Tick) -> Iterator[ShardResult]:
        """Yields the result of each shard as it is done, in any order."""
        free, deaths = deque(self.actors), Counter[int]()
        while left or self.busy:
            while left and free:
                actor, shard = free.popleft(), left.popleft()
                self.busy[actor.work.remote(shard)] = actor, shard
            ready, _ = self.ray.wait(list(self.busy), timeout=LOOK_S)
            tick(0)
            for reference in ready:
                actor, shard = self.busy.pop(reference)
                result = self._taken(reference, shard, deaths)
                if result is None:
                    free.append(self._actor())
                    self.actors[self.actors.index(actor)] = free[-1]
                    left.append(shard)
                    continue
                self._check(actor, shard)
                free.append(actor)
                tick(len(self.job.plan.samples(shard)))
                yield result

    def _taken(self, reference: Any, shard: int, deaths: Counter[int]) -> ShardResult | None:
        """Returns the result of a shard; None if its actor died and the shard can be tried again."""
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else TapetumError(str(error)) from error
        except self.ray.exceptions.RayActorError as error:
            if error.actor_init_failed:
                reason = str(error).strip().splitlines()[-1].strip()
                raise TapetumError(f"a Ray worker cannot begin ({reason}); it needs tapetum and the model's modules") from error
            deaths[shard] += 1
            if deaths[shard] == TRIES:
                samples = self.job.plan.samples(shard)
                first, last = self.job.source.ids[samples[0]], self.job.source.ids[samples[-1]]
                raise TapetumError(
                    f"{TRIES} workers died over the pictures {first} to {last}; leave them out, or give memory"
                ) from error
            return None

    def _check(self, actor: Any, shard: int) -> None:
        """Refuses an actor whose first finished shard does not appear in the ledger as this process sees it."""
        if self.job.ledger is not None and actor not in self.checked and shard not in self.job.ledger.done():
            raise TapetumError("a worker's shard is not where this process looks: give out= a folder or URL that all can reach")
        self.checked.add(actor)

    def stop(self) -> None:
        """Ends the actors, even in the middle of a shard: the files of a ledger are complete or absent."""
        for actor in self.actors:
            self.ray.kill(actor)


@contextmanager
def by_value(ray: Any) -> Iterator[None]:
    """Pickles classes from a user's own file (`file.py:factory`) with their code, since other machines do not have the file."""
    own = [module for name, module in sys.modules.items() if name.startswith("tapetum_user_")]
    for module in own:
        ray.cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in own:
            ray.cloudpickle.unregister_pickle_by_value(module)
