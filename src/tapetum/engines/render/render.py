"""`render`: makes any number of pictures, in batches that fit into memory, and records the value and status of each."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from tapetum.engines.batching import batch_size, in_chunks
from tapetum.engines.render.objectives.base import Objective, each
from tapetum.engines.render.optimize import Recipe, Step, measure, optimize
from tapetum.engines.render.parametrizations import Start
from tapetum.models.vision_model import VisionModel
from tapetum.progress import report
from tapetum.types import Batch, Made, MethodError, Rendering
from tapetum.types.results import joined

NOTED = 64
"""Number of values recorded per run, spaced evenly over its steps."""


def render(
    model: VisionModel,
    objectives: Sequence[Objective],
    recipe: Recipe,
    *,
    size: tuple[int, int],
    seed: int = 0,
    group: int = 1,
    batch: Batch = "auto",
    frames: Sequence[int] | int = (),
    places: Sequence[int] | None = None,
) -> Rendering:
    """Renders `group` pictures per objective, ordered by objective; an objective may compare the pictures of its group.

    Args:
        frames: the steps whose pictures are kept, or how many evenly spaced steps; step 0 is the initial picture.
        places: rows of the method's result that the pictures become, for those who watch; None: the same; empty: none.
    """
    if not objectives:
        raise MethodError("nothing to make a picture of was given")
    kept = kept_steps(frames, recipe.n_steps)
    most = max(1, _batch(model, batch, size, recipe) // group)
    done = [0]
    places = range(len(objectives) * group) if places is None else places

    def work(rows: Sequence[int]) -> Rendering:
        before, some = done[0], [objectives[row] for row in rows]
        try:
            return _rendered(model, some, rows, recipe, size, seed, group, kept, done, len(objectives), places)
        except BaseException:
            done[0] = before
            raise

    return joined(list(in_chunks(range(len(objectives)), most, work)))


def kept_steps(frames: Sequence[int] | int, n_steps: int) -> tuple[int, ...]:
    """Returns the steps whose pictures are kept, sorted: those in `frames`, or for a number as many,
    evenly from 0 to the last.
    """
    if isinstance(frames, int):
        if frames < 0:
            raise MethodError(f"frames are steps, or a number of pictures to keep, not {frames}")
        return tuple(sorted({n_steps - round(i * n_steps / max(1, frames - 1)) for i in range(frames)}))
    wrong = [frame for frame in frames if not 0 <= frame <= n_steps]
    if wrong:
        raise MethodError(f"there is no step {wrong[0]} to keep the picture of: they go from 0 to {n_steps}")
    return tuple(sorted(set(frames)))


def noted_steps(n_steps: int) -> tuple[int, ...]:
    """Returns the steps whose values are recorded, at most NOTED, evenly spaced from the first to the last."""
    return tuple(sorted({round(1 + i * (n_steps - 1) / (NOTED - 1)) for i in range(NOTED)}))


def _batch(model: VisionModel, batch: Batch, size: tuple[int, int], recipe: Recipe) -> int:
    """Returns the number of pictures per batch: twice `batch_size`, fewer for large pictures or many views."""
    if batch != "auto":
        return batch_size(model, batch)
    share = size[0] * size[1] * recipe.views / prod(model.size)
    return max(1, round(2 * batch_size(model, "auto", gradients=True) / max(1.0, share)))


def _rendered(
    model: VisionModel,
    objectives: Sequence[Objective],
    rows: Sequence[int],
    recipe: Recipe,
    size: tuple[int, int],
    seed: int,
    group: int,
    frames: Sequence[int],
    done: list[int],
    total: int,
    places: Sequence[int],
) -> Rendering:
    """Renders one batch, from the initial noise to the finished pictures."""
    start = Start(
        size=size,
        variants=tuple(range(group)) * len(rows),
        rows=tuple(row * group + i for row in rows for i in range(group)),
        seed=seed,
        dtype=torch.promote_types(model.dtype, torch.float32),
        device=model.device,
    )
    every = each(objectives, group)
    kept: list[Tensor] = []
    values: list[Tensor] = []
    steps: list[int] = []
    noted = noted_steps(recipe.n_steps)
    step: Step | None = None
    shown = [places[row] for row in start.rows] if places else ()
    report(done[0], total * recipe.n_steps, "steps")
    for step in optimize(model, every, recipe, start, before=kept.append if 0 in frames else None):
        if step.number in noted:
            values.append(step.values)
            steps.append(step.number)
        if step.number in frames:
            kept.append(step.pixels())
        done[0] += len(rows)
        report(done[0], total * recipe.n_steps, "steps", float(step.values.mean()), step.pixels, shown)
    assert step is not None
    pixels = step.pixels()
    scores = measure(model, every, pixels)
    return Rendering(
        pixels=pixels,
        scores=scores,
        objectives=tuple(str(one) for one in objectives for _ in range(group)),
        status=_status(step, scores),
        steps=tuple(steps),
        values=torch.stack(values),
        frames=torch.stack(kept) if kept else None,
        frame_steps=tuple(frames),
    )


def _status(step: Step, scores: Tensor) -> tuple[Made, ...]:
    """Returns the status of each picture: "non_finite" if its score, or its gradient at more than half of the steps, was not
    finite; "silent" if no gradient ever reached it; else "ok".
    """
    broken = (step.broken > step.number // 2) | ~scores.isfinite()
    pairs = zip(broken.tolist(), step.answered.tolist(), strict=True)
    return tuple("non_finite" if bad else "ok" if answered else "silent" for bad, answered in pairs)
