"""Deep dream: a photograph with more and more of whatever a layer sees in it, from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import torch
from torch import Tensor

from tapetum.border.methods import rendering
from tapetum.border.sentences import LongestSide, Seed, SideOfPhotograph
from tapetum.data.preprocessing import Size, size_of
from tapetum.engines.render import objectives as O
from tapetum.engines.render import transforms as T
from tapetum.engines.render.optimize import Recipe, measure_each, optimize
from tapetum.engines.render.optimizers import normalized
from tapetum.engines.render.parametrizations import Start, as_it_is
from tapetum.engines.render.render import kept_steps
from tapetum.engines.render.sizes import takes
from tapetum.families.dreams.pictures import PictureRun, as_rendering, begun_with, named_or_usual, resized
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import report
from tapetum.types import MethodError, Precision, Range, Rendering

SMALLEST_PX = 32
"""Smallest shorter side of an octave in px: a network that halves its grid five times has one place left."""

USUAL = 3
"""Index of the default layer among five depths (the fourth), which responds to parts of things (eyes, snouts, wheels)."""


@rendering(cite="mordvintsev2015inceptionism", takes="pictures")
def deep_dream(
    model: VisionModel,
    pictures: list[Tensor],
    *,
    layer: str | None = None,
    units: Any = None,
    n_octaves: Annotated[int, Range(1, 30)] = 5,
    octave_scale: Annotated[float, Range(1.01, 10)] = 1.4,
    n_steps: Annotated[int, Range(1, 10_000)] = 10,
    step_size: Annotated[float, Range(0, 1)] = 0.01,
    jitter_px: Annotated[int, Range(0, 1000)] = 32,
    size: SideOfPhotograph = None,
    longest_px: LongestSide = 512,
    seed: Seed = 0,
    precision: Precision = "exact",
    frames: Sequence[int] | int = (),
) -> Rendering:
    """A photograph with more and more of whatever a layer of the network sees in it.

    Octaves have the sizes size / octave_scale^k, from the smallest to the photograph's own. Each starts with the photograph at
    its size plus the detail dreamed so far, then makes n_steps of x <- x + step_size g / mean |g|, g the gradient of the mean
    square of the layer's activation at x, shifted cyclically by a random jitter. The detail is carried to the next octave.

    values (s, n) are the mean square at every step, scores (n,) that of the finished pictures, pixels (n, 3, h, w) in [0, 1],
    and `numbers["before"]` that of the photographs. Octaves below 32 px, or of sizes that the network does not take, are left
    out. The code published with mordvintsev2015inceptionism has four octaves and steps of 1.5 / 255; the built-in model needs
    five and .01 for dreams as clear.

    Args:
        layer: layer whose activation grows; None: a middle one (the choice is in `notes`).
        units: objective in place of a layer's activation: "layer:channel", a class, or one of `tp.objectives`.
        n_octaves: number of octaves.
        octave_scale: ratio of the sides of one octave and the one before.
        n_steps: steps per octave.
        step_size: mean change of a pixel per step, in units of [0, 1].
        jitter_px: largest random shift of the picture before a pass.
        frames: steps whose pictures are kept, counted through the octaves, or how many, evenly; 0 is the photograph.

    Example:
        >>> tp.deep_dream(model, images, layer="blocks.3", n_octaves=2, n_steps=2).scores
    """
    objective = _objective(model, layer, units)
    begun = begun_with(model, pictures, size, longest_px)
    sizes = _taken(model, octave_sizes(size_of(begun), n_octaves, octave_scale), n_octaves)
    recipe = Recipe(
        transforms=(T.roll(jitter_px),), optimizer=normalized(step_size), n_steps=n_steps, redirect=0, precision=precision
    )
    kept = kept_steps(frames, len(sizes) * n_steps)
    dreamer = _Dreamer(model, objective, recipe, sizes, seed, kept, total=len(begun) * len(sizes) * n_steps)
    report(0, dreamer.total, "steps")
    runs = [dreamer.dream(picture, row) for row, picture in enumerate(begun.split(1))]
    wanted = [objective] * len(runs)
    scores, before = (measure_each(model, wanted, pixels) for pixels in (torch.cat([run.pixels for run in runs]), begun))
    return as_rendering(runs, wanted, kept, scores, before)


def _objective(model: VisionModel, layer: str | None, units: Any) -> O.Objective:
    if layer is not None and units is not None:
        raise MethodError("deep_dream makes more of a layer or of units: give one of the two")
    if units is not None:
        return O.as_objective(model, units)
    return O.deep_dream(named_or_usual(model, layer, USUAL, "layer {} was chosen"))


def octave_sizes(size: Size, n_octaves: int, octave_scale: float) -> list[Size]:
    """Returns (h, w) of each octave, smallest first: both sides divided by octave_scale^k and rounded, none below 32 px.

    A picture that is itself smaller than 32 px has one octave.
    """
    sizes = [(round(size[0] / octave_scale**k), round(size[1] / octave_scale**k)) for k in reversed(range(n_octaves))]
    return [one for one in sizes if min(one) >= SMALLEST_PX] or [size]


def _taken(model: VisionModel, sizes: Sequence[Size], n_octaves: int) -> list[Size]:
    """Returns the octave sizes that the network takes; the last, the picture's own, was checked before."""
    taken = [*(one for one in sizes[:-1] if takes(model, one)), sizes[-1]]
    if len(taken) < n_octaves:
        note(f"{n_octaves - len(taken)} of {n_octaves} octaves are too small, or no size that {model.name} takes")
    return taken


@dataclass(frozen=True, eq=False)
class _Dreamer:
    """The settings of deep dream for all pictures; `total` is the number of steps of all pictures together."""

    model: VisionModel
    objective: O.Objective
    recipe: Recipe
    sizes: Sequence[Size]
    seed: int
    frames: Sequence[int]
    total: int

    def dream(self, picture: Tensor, row: int) -> PictureRun:
        """Dreams one picture through all octaves, after `row` others."""
        done = row * len(self.sizes) * self.recipe.n_steps
        run = PictureRun(picture, frames=[picture] if 0 in self.frames else [])
        detail = torch.zeros_like(picture)
        for octave, size in enumerate(self.sizes):
            base = resized(picture, size)
            begun = base + resized(detail, size)
            recipe = replace(self.recipe, parametrization=as_it_is(begun.clamp(0, 1)))
            start = Start(size, seed=self.seed + octave, dtype=begun.dtype, device=begun.device)
            whole, step = partial(dreamt, run, picture, base), None
            for step in optimize(self.model, self.objective, recipe, start):
                run.values.append(step.values)
                run.pixels = step.pixels()
                if len(run.values) in self.frames:
                    run.frames.append(whole())
                report(done + len(run.values), self.total, "steps", float(step.values), whole, (row,))
            assert step is not None  # there is at least one step
            run.answered |= bool(step.answered)
            run.broken += int(step.broken)
            detail = run.pixels - base
        return run


def dreamt(run: PictureRun, picture: Tensor, base: Tensor) -> Tensor:
    """Returns a picture with the detail dreamed so far at its own size; `base` is the picture at the size of the octave."""
    if base.shape == picture.shape:
        return run.pixels
    return (picture + resized(run.pixels - base, size_of(picture))).clamp(0, 1)
