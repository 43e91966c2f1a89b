"""Pictures in bulk: hundreds of objectives, in batches of a fixed make-up, each on the disk as soon as it is finished.

A batch runs in one thread of torch's, so its pictures are the same bits however many workers share the job, and whatever
was made before an interruption. A job is known by a key: parts that were made with another key are never used.
"""

from __future__ import annotations

import hashlib
import io
import json
import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from tapetum import progress
from tapetum.engines.render import render
from tapetum.engines.render.objectives import Objective
from tapetum.engines.render.optimize import Recipe
from tapetum.engines.scan.ledger import writable, written
from tapetum.engines.scan.local import cores
from tapetum.files import arrays_in
from tapetum.keeping.whole import removed
from tapetum.models.vision_model import VisionModel
from tapetum.types import DamagedError, Made, TapetumError

BATCH = 16
"""Pictures at once, and the most that a killed run loses of each worker's; from 8 on the time of each falls no further."""

DECISIVE = ("tapetum", "torch")
"""Versions that may change a picture."""


@dataclass(frozen=True, eq=False)
class Painted:
    """Finished pictures (n, h, w, 3) uint8, the objectives' scores (n,) of them, and what became of each."""

    pixels: NDArray[np.uint8]
    scores: tuple[float, ...]
    status: tuple[Made, ...]


@dataclass(frozen=True, eq=False)
class Canvases:
    """What is to be painted: objectives in a fixed order, all by one recipe at one size (h, w)."""

    model: VisionModel
    objectives: Sequence[Objective]
    recipe: Recipe
    size: tuple[int, int]
    seed: int = 0
    batch: int = BATCH

    def __len__(self) -> int:
        return len(self.objectives)

    @property
    def batches(self) -> list[range]:
        """The rows of each batch."""
        return [range(start, min(len(self), start + self.batch)) for start in range(0, len(self), self.batch)]

    def facts(self) -> dict[str, Any]:
        """All that decides the pictures, but for numbers inside of objectives that their names do not say."""
        recipe = self.recipe
        return {
            "weights": self.model.weights_sha256,
            "model": self.model.name,
            "preprocessing": repr(self.model.preprocessing),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "objectives": [str(one) for one in self.objectives],
            "parametrization": str(recipe.parametrization),
            "transforms": [str(one) for one in recipe.transforms],
            "optimizer": str(recipe.optimizer or recipe.parametrization.mover),
            "n_steps": recipe.n_steps,
            "views": recipe.views,
            "redirect": recipe.redirect,
            "precision": recipe.precision,
            "size": list(self.size),
            "seed": self.seed,
            "batch": self.batch,
            **{name: version(name) for name in DECISIVE},
        }

    def make(self, rows: range) -> Painted:
        """One batch, in the calling thread."""
        with torch.inference_mode(False), torch.no_grad(), self.model.pinned():
            some = [self.objectives[row] for row in rows]
            made = render(self.model, some, self.recipe, size=self.size, seed=self.seed, batch=len(some))
        pixels = made.pixels[:, :3].nan_to_num(0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return Painted(pixels.permute(0, 2, 3, 1).cpu().numpy(), tuple(made.scores.double().tolist()), made.status)


def key_of(facts: Mapping[str, Any]) -> str:
    """A hash of everything that decides pictures: with another model or setting it is another one."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def paint(job: Canvases, folder: Path, key: str, *, workers: int | None = None, resume: bool = True) -> Painted:
    """All pictures of a job, with finished batches kept in `folder`/.parts-KEY until `forget` clears them away.

    workers   threads, each with a batch of its own; None: one a core. The pictures do not depend on it.
    resume    False: batches that are there are made again

    Progress is reported in pictures; a run that was stopped or killed loses at most one batch a worker.
    """
    place = _place(folder, key)
    with writable(place):
        if not resume or place.is_symlink() or not place.is_dir():
            removed(place)
        place.mkdir(parents=True, exist_ok=True)
    found = [read(place / f"{i:06d}.npz", len(rows), job.size) for i, rows in enumerate(job.batches)]
    todo = [i for i, part in enumerate(found) if part is None]

    def work(i: int) -> Painted:
        part = job.make(job.batches[i])
        file = place / f"{i:06d}.npz"
        with writable(file):
            removed(file)
        written(file, _packed(part))
        return part

    sizes = [len(rows) for rows in job.batches]
    for i, part in shared_out(job.model, work, todo, sizes, workers):
        found[i] = part
    return joined([part for part in found if part is not None])


def forget(folder: Path, key: str | None = None) -> None:
    """Clears away the parts of a job, or with None those of every job in the folder."""
    for place in folder.glob(".parts-*") if key is None else [_place(folder, key)]:
        shutil.rmtree(place, ignore_errors=True)


def _place(folder: Path, key: str) -> Path:
    return folder / f".parts-{key[:16]}"


def joined(parts: Sequence[Painted]) -> Painted:
    """Batches one after the other."""
    if not parts:
        raise TapetumError("nothing to make a picture of was given")
    return Painted(
        np.concatenate([part.pixels for part in parts]),
        tuple(score for part in parts for score in part.scores),
        tuple(status for part in parts for status in part.status),
    )


# --- several batches side by side

Event = tuple[int, float] | tuple[int, Painted] | BaseException


def shared_out(
    model: VisionModel, work: Callable[[int], Painted], todo: Sequence[int], sizes: Sequence[int], workers: int | None
) -> list[tuple[int, Painted]]:
    """(batch, what `work` made of it) for each batch of `todo`; reports pictures, and stops within a step when asked to."""
    if workers is not None and workers < 1:
        raise TapetumError(f"workers must be at least 1, not {workers}")
    total, done = sum(sizes), sum(sizes) - sum(sizes[i] for i in todo)
    progress.report(done, total, "pictures")
    if not todo:
        return []
    model.survey, model.weights_sha256  # noqa: B018 (found out once, before threads ask for it side by side)
    many = min(workers or (cores() if model.device.type == "cpu" else 1), len(todo))
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    stopped, threads = threading.Event(), torch.get_num_threads()
    pool = ThreadPoolExecutor(many, initializer=torch.set_num_threads, initargs=(1,))
    shares: dict[int, float] = {}
    found: list[tuple[int, Painted]] = []
    try:
        for i in todo:
            pool.submit(_one, work, i, events, stopped)
        while len(found) < len(todo):
            event = events.get()
            if isinstance(event, BaseException):
                raise event
            i, what = event
            if isinstance(what, Painted):
                found.append((i, what))
            shares[i] = float(sizes[i]) if isinstance(what, Painted) else what * sizes[i]
            progress.report(done + int(sum(shares.values())), total, "pictures")
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
    return found


def _one(work: Callable[[int], Painted], i: int, events: queue.SimpleQueue[Event], stopped: threading.Event) -> None:
    """In a worker's thread, where nobody watches: steps become events, and a stop ends the batch at its next step."""

    def watch(step: progress.Progress) -> bool:
        events.put((i, min(0.999, step.done / max(1, step.total))))
        return not stopped.is_set()

    try:
        if not stopped.is_set():
            with progress.watching(watch):
                events.put((i, work(i)))
    except BaseException as error:  # after a stop nobody reads it
        events.put(error)


def seconds_each(job: Canvases, workers: int | None = None, steps: int = 4) -> float:
    """Seconds that a picture of this job takes when its workers share the cores, from a few steps of each worker's batch."""
    many = workers or (cores() if job.model.device.type == "cpu" else 1)
    rows = job.batches[0]
    short, first = (replace(job, recipe=replace(job.recipe, n_steps=n, redirect=0)) for n in (steps, 1))
    with progress.watching(None):
        sizes = [len(rows)] * many
        shared_out(job.model, lambda _: first.make(rows), range(many), sizes, many)  # kernels are chosen, replicas made
        begun = time.perf_counter()
        shared_out(job.model, lambda _: short.make(rows), range(many), sizes, many)
    return (time.perf_counter() - begun) / (many * len(rows)) * job.recipe.n_steps / steps


# --- parts on the disk


def _packed(part: Painted) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, pixels=part.pixels, scores=np.array(part.scores), status=np.array(part.status))
    return buffer.getvalue()


def read(file: Path, n: int, size: tuple[int, int]) -> Painted | None:
    """A finished batch of n pictures; None where it is missing, damaged, or of other pictures, and has to be made."""
    with suppress(DamagedError):
        arrays = arrays_in(file)
        wanted = {"pixels": ((n, *size, 3), "u1"), "scores": ((n,), "f8"), "status": ((n,), "U")}
        found = {name: (array.shape, array.dtype.str[1:]) for name, array in arrays.items()}
        if found.keys() == wanted.keys() and all(_is(found[name], wanted[name]) for name in wanted):
            status = tuple(arrays["status"].tolist())
            if set(status) <= set(get_args(Made)):
                return Painted(arrays["pixels"], tuple(arrays["scores"].tolist()), cast("tuple[Made, ...]", status))
    return None


def _is(found: tuple[tuple[int, ...], str], wanted: tuple[tuple[int, ...], str]) -> bool:
    return found[0] == wanted[0] and found[1].startswith(wanted[1])
