"""Renders pictures in bulk: hundreds of objectives in fixed batches, each saved as soon as it is done.

Each batch runs in a single torch thread, so its pictures have the same bits for any number of workers, and after an
interruption.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
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
from tapetum.engines.threads import check_workers, side_by_side, usual_workers
from tapetum.files import arrays_in, shown
from tapetum.keeping.keyed import Kept
from tapetum.models.vision_model import VisionModel
from tapetum.types import DamagedError, Made

BATCH = 16
"""Pictures per batch, which is also what a killed run loses per worker; the time per picture does not fall beyond 8."""

DECISIVE = ("tapetum", "torch")
"""Packages whose versions may change a picture."""


@dataclass(frozen=True, eq=False)
class Painted:
    """Finished pictures (n, h, w, 3) uint8, with the objective's score on each picture and the status of each."""

    pixels: NDArray[np.uint8]
    scores: tuple[float, ...]
    status: tuple[Made, ...]


@dataclass(frozen=True, eq=False)
class Canvases:
    """Pictures to render by optimisation: objectives in a fixed order, with one recipe and one size (h, w) in px."""

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
        return [range(start, min(len(self), start + self.batch)) for start in range(0, len(self), self.batch)]

    def facts(self) -> dict[str, Any]:
        """Returns everything that the pictures depend on, except numbers that an objective's name does not show."""
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
        """Renders one batch of pictures in the calling thread."""
        with torch.inference_mode(False), torch.no_grad(), self.model.pinned():
            some = [self.objectives[row] for row in rows]
            made = render(self.model, some, self.recipe, size=self.size, seed=self.seed, batch=len(some))
        pixels = made.pixels[:, :3].nan_to_num(0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
        return Painted(pixels.permute(0, 2, 3, 1).cpu().numpy(), tuple(made.scores.double().tolist()), made.status)


def paint(job: Canvases, kept: Kept, *, workers: int | None = None) -> Painted:
    """Renders all pictures of a job, and saves finished batches: a stopped run loses at most one batch per worker.

    workers  threads, each with a batch of its own; None: one per core. The pictures do not depend on their number.
    """
    found = [kept.read(f"{i:06d}.npz", partial(read, n=len(rows), size=job.size)) for i, rows in enumerate(job.batches)]

    def work(i: int) -> Painted:
        part = job.make(job.batches[i])
        kept.write(f"{i:06d}.npz", _packed(part))
        return part

    todo = [i for i, part in enumerate(found) if part is None]
    for i, part in shared_out(job.model, work, todo, [len(rows) for rows in job.batches], workers):
        found[i] = part
    parts = [part for part in found if part is not None]
    return Painted(
        np.concatenate([part.pixels for part in parts]),
        tuple(score for part in parts for score in part.scores),
        tuple(status for part in parts for status in part.status),
    )


# --- several batches side by side


def shared_out(
    model: VisionModel, work: Callable[[int], Painted], todo: Sequence[int], sizes: Sequence[int], workers: int | None
) -> list[tuple[int, Painted]]:
    """Runs `work` for each batch of `todo` in threads; returns (batch, result) pairs, and stops within a step if cancelled."""
    check_workers(workers)
    total, done = sum(sizes), sum(sizes) - sum(sizes[i] for i in todo)
    progress.report(done, total, "pictures")
    if not todo:
        return []
    _ = model.survey, model.weights_sha256  # computed once, before several threads need them
    shares: dict[int, float] = {}
    found: list[tuple[int, Painted]] = []

    def one(i: int, tell: Callable[[tuple[int, Painted | float]], None]) -> tuple[int, Painted | float]:
        with progress.watching(lambda step: tell((i, min(0.999, step.done / max(1, step.total))))):
            return i, work(i)

    with closing(side_by_side(one, todo, workers or usual_workers(model.device))) as events:
        for i, what in events:
            if isinstance(what, Painted):
                found.append((i, what))
            shares[i] = float(sizes[i]) if isinstance(what, Painted) else what * sizes[i]
            progress.report(done + int(sum(shares.values())), total, "pictures")
    return found


def seconds_each(job: Canvases, workers: int | None = None, steps: int = 4) -> float:
    """Measures the seconds per picture of a job with all workers busy, on a few steps of a batch for each worker."""
    many = workers or usual_workers(job.model.device)
    rows = job.batches[0]
    short, first = (replace(job, recipe=replace(job.recipe, n_steps=n, redirect=0)) for n in (steps, 1))
    with progress.watching(None):
        sizes = [len(rows)] * many
        shared_out(job.model, lambda _: first.make(rows), range(many), sizes, many)  # warm-up: kernels, replicas
        begun = time.perf_counter()
        shared_out(job.model, lambda _: short.make(rows), range(many), sizes, many)
    return (time.perf_counter() - begun) / (many * len(rows)) * job.recipe.n_steps / steps


# --- parts on the disk


def _packed(part: Painted) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, pixels=part.pixels, scores=np.array(part.scores), status=np.array(part.status))
    return buffer.getvalue()


def read(file: Path, n: int, size: tuple[int, int]) -> Painted:
    """Reads a finished batch of n pictures; raises a `DamagedError` if it is missing, damaged, or has other pictures."""
    arrays = arrays_in(file)
    wanted = {"pixels": ((n, *size, 3), "u1"), "scores": ((n,), "f8"), "status": ((n,), "U")}
    if arrays.keys() != wanted.keys() or not all(
        arrays[name].shape == shape and arrays[name].dtype.str[1:].startswith(kind) for name, (shape, kind) in wanted.items()
    ):
        raise DamagedError(f"{shown(file)} holds other pictures")
    status = tuple(arrays["status"].tolist())
    if not set(status) <= set(get_args(Made)):
        raise DamagedError(f"{shown(file)} is damaged: no picture has such a status")
    return Painted(arrays["pixels"], tuple(arrays["scores"].tolist()), cast("tuple[Made, ...]", status))
