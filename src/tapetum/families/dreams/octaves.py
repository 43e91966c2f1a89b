"""Deep dreams: more of whatever a layer sees in a photograph, from coarse to fine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
from torch import Tensor

from tapetum.border.rendering import rendering
from tapetum.engines.render import objectives as O
from tapetum.engines.render import transforms as T
from tapetum.engines.render.optimize import Recipe, Step, measure, optimize
from tapetum.engines.render.optimizers import normalized
from tapetum.engines.render.parametrizations import Start, as_it_is
from tapetum.engines.render.render import kept_steps
from tapetum.engines.render.sizes import takes
from tapetum.families.dreams.pictures import Size, begun_with, one_layer, resized
from tapetum.models.depths import depths
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import report
from tapetum.types import Made, MethodError, Precision, Range, Rendering

SMALLEST_PX = 32
"""No octave is smaller: there, a network of five halvings has one place left."""

DEPTHS, DEPTH = 5, 3
"""The usual layer: the fourth of five depths, where parts of things are seen (eyes, snouts, wheels)."""


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
    size: int | str | tuple[int, int] | None = None,
    longest_px: Annotated[int, Range(32, 8192)] = 512,
    seed: int = 0,
    precision: Precision = "exact",
    frames: Sequence[int] | int = (),
) -> Rendering:
    """A photograph with more and more of whatever a layer of the network sees in it.

    Each octave, from the smallest, size / octave_scale^k: the picture at that size plus the detail that was dreamed so far,
    then n_steps of x <- x + step_size g / mean |g|, g the gradient of the mean square of the layer's activation at x, moved by
    a random jitter whose ends meet. What an octave added is carried to the next.

    values (s, n) are the mean square at every step, scores (n,) that of the finished pictures, pixels (n, 3, h, w) in [0, 1],
    and `numbers["before"]` that of the photographs.
    Octaves below 32 px, or of sizes that the network does not take, are left out. The code published with
    mordvintsev2015inceptionism has four octaves and steps of 1.5 / 255; here five and .01, which the built-in model's dreams
    need to be as clear.

    Args:
        layer: the layer whose activation grows; None: a middle one, noted.
        units: make more of that instead: "layer:channel", a class, or one of `tp.objectives`.
        n_octaves: sizes at which the picture is worked on.
        octave_scale: how much larger the next one is.
        n_steps: steps an octave.
        step_size: how far a step moves a pixel in the mean, of [0, 1].
        jitter_px: how far the picture is moved about before the network looks.
        size: side in px, or (height, width), "96x160"; None: the photograph's own.
        longest_px: the longer side is made no larger, without `size`.
        seed: of the jitter.
        precision: exact, or fast (bfloat16 in the network).
        frames: steps whose pictures are kept, counted through the octaves, or how many, evenly; 0 is the photograph.

    Example:
        >>> tp.deep_dream(model, images, layer="blocks.3", n_octaves=2, n_steps=2).scores
    """
    objective = _objective(model, layer, units)
    begun = begun_with(model, pictures, size, longest_px)
    sizes = _taken(model, octave_sizes((int(begun.shape[-2]), int(begun.shape[-1])), n_octaves, octave_scale), n_octaves)
    recipe = Recipe(
        transforms=(T.roll(jitter_px),), optimizer=normalized(step_size), n_steps=n_steps, redirect=0, precision=precision
    )
    total = len(begun) * len(sizes) * n_steps
    kept = kept_steps(frames, len(sizes) * n_steps)
    report(0, total, "steps")
    dreams: list[_Dream] = []
    for row, picture in enumerate(begun.split(1)):
        told = _teller(row * len(sizes) * n_steps, total)
        dreams.append(_dream(model, objective, recipe, picture, sizes, seed, kept, told))
    return _joined(model, objective, begun, dreams, kept)


def _objective(model: VisionModel, layer: str | None, units: Any) -> O.Objective:
    if layer is not None and units is not None:
        raise MethodError("deep_dream makes more of a layer or of units: give one of the two")
    if units is not None:
        return O.as_objective(model, units)
    if layer is None:
        places = depths(model, DEPTHS)
        layer = places[round(DEPTH / (DEPTHS - 1) * (len(places) - 1))]
        note(f"layer {layer} was chosen")
    return O.deep_dream(one_layer(model, layer))


def octave_sizes(size: Size, n_octaves: int, octave_scale: float) -> list[Size]:
    """(h, w) of each octave, the smallest first: both sides divided by octave_scale^k and rounded, none below 32 px.

    A picture that is itself smaller than 32 px has one octave.
    """
    sizes = [(round(size[0] / octave_scale**k), round(size[1] / octave_scale**k)) for k in reversed(range(n_octaves))]
    return [one for one in sizes if min(one) >= SMALLEST_PX] or [size]


def _taken(model: VisionModel, sizes: Sequence[Size], n_octaves: int) -> list[Size]:
    """The sizes that the network takes: of the last it is known."""
    taken = [*(one for one in sizes[:-1] if takes(model, one)), sizes[-1]]
    if len(taken) < n_octaves:
        note(f"{n_octaves - len(taken)} of {n_octaves} octaves are too small, or no size that {model.name} takes")
    return taken


def _teller(before: int, total: int) -> Callable[[int, float], None]:
    return lambda done, value: report(before + done, total, "steps", value)


@dataclass
class _Dream:
    """One picture on its way through the octaves."""

    pixels: Tensor
    values: list[Tensor] = field(default_factory=list[Tensor])
    frames: list[Tensor] = field(default_factory=list[Tensor])
    answered: bool = False
    broken: int = 0

    @property
    def status(self) -> Made:
        return "non_finite" if self.broken > len(self.values) // 2 else "ok" if self.answered else "silent"


def _dream(
    model: VisionModel,
    objective: O.Objective,
    recipe: Recipe,
    picture: Tensor,
    sizes: Sequence[Size],
    seed: int,
    frames: Sequence[int],
    told: Callable[[int, float], None],
) -> _Dream:
    dream = _Dream(picture, frames=[picture] if 0 in frames else [])
    detail = torch.zeros_like(picture)
    for octave, size in enumerate(sizes):
        base = resized(picture, size)
        step: Step | None = None
        for step in _octave(model, objective, recipe, base + resized(detail, size), seed + octave):
            dream.values.append(step.values)
            dream.pixels = step.pixels()
            if len(dream.values) in frames:
                dream.frames.append((picture + resized(dream.pixels - base, _size(picture))).clamp(0, 1))
            told(len(dream.values), float(step.values))
        assert step is not None
        dream.answered |= bool(step.answered)
        dream.broken += int(step.broken)
        detail = dream.pixels - base
    return dream


def _octave(model: VisionModel, objective: O.Objective, recipe: Recipe, begun: Tensor, seed: int) -> Iterator[Step]:
    start = Start(_size(begun), seed=seed, dtype=begun.dtype, device=begun.device)
    return optimize(model, objective, replace(recipe, parametrization=as_it_is(begun.clamp(0, 1))), start)


def _size(picture: Tensor) -> Size:
    return int(picture.shape[-2]), int(picture.shape[-1])


def _joined(
    model: VisionModel, objective: O.Objective, begun: Tensor, dreams: Sequence[_Dream], frames: Sequence[int]
) -> Rendering:
    scores, before = (
        torch.cat([measure(model, objective, one) for one in pictures])
        for pictures in ([dream.pixels for dream in dreams], begun.split(1))
    )
    values = torch.stack([torch.cat(dream.values) for dream in dreams], 1)
    kept = [torch.cat(some) for some in zip(*(dream.frames for dream in dreams), strict=True)]
    return Rendering(
        pixels=torch.cat([dream.pixels for dream in dreams]),
        scores=scores,
        objectives=(str(objective),) * len(dreams),
        status=tuple(dream.status if sound else "non_finite" for dream, sound in zip(dreams, scores.isfinite(), strict=True)),
        steps=tuple(range(1, len(values) + 1)),
        values=values,
        frames=torch.stack(kept) if kept else None,
        frame_steps=tuple(frames),
        numbers={"before": before},
    )
