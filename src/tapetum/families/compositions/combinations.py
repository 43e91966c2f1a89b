"""Renders two units: each alone, both together or against each other, and interpolations from one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import Tensor

from tapetum.border.layers import named_layer
from tapetum.border.methods import rendering
from tapetum.border.sentences import AscentSteps, Frames, Parametrization, Preset, Seed, SideOfNoise, Transforms
from tapetum.engines.render import measure, measure_each, render
from tapetum.engines.render import objectives as O
from tapetum.engines.render.parametrizations import as_parametrization
from tapetum.engines.render.sizes import as_size
from tapetum.families.visualizations import map_layer, recipe_of
from tapetum.models.vision_model import VisionModel
from tapetum.types import Batch, MethodError, Precision, Range, Rendering, Unit
from tapetum.types.results import joined

SIGNS = ((-1, 0), (1, 0), (0, -1), (0, 1), (1, 1), (1, -1), (-1, 1), (-1, -1))
"""(weight of unit A, weight of unit B) for each picture of `neuron_interaction`."""


@rendering(cite="olah2017feature", takes="units")
def neuron_interaction(
    model: VisionModel,
    units: Any,
    *,
    size: SideOfNoise = None,
    n_steps: AscentSteps = None,
    preset: Preset = "standard",
    parametrization: Parametrization = None,
    transforms: Transforms = None,
    seed: Seed = 0,
    batch: Batch = "auto",
    precision: Precision = "exact",
) -> Rendering:
    """Pictures of two units: each alone, each reversed, and both together.

    Eight pictures, `layout` (2, 4): -A, A, -B, B; then A + B, A - B, B - A, -A - B. Alone each is the picture of `visualize`.
    Together they raise +-A / s_A +- B / s_B, s the value that the unit's own picture reaches above that of the initial noise,
    so that the unit with larger values does not dominate. numbers: `first` and `second` (8,), the values of A and B in every
    picture, which show whether one is possible with the other. `units` are two, as for `visualize`.

    Example:
        >>> tp.neuron_interaction(model, ["blocks.3:5", "blocks.3:2"], size=32, n_steps=2).numbers["first"]
    """
    a, b = _pair(model, units)
    recipe = recipe_of(preset, n_steps, parametrization, transforms, precision)
    options: dict[str, Any] = {"size": as_size(model, size), "seed": seed, "batch": batch}
    alone = render(model, [-a, a, -b, b], recipe, **options, frames=(0,))
    s = _reached(model, (a, b), alone, rows=(1, 3))
    joint = render(model, [x * (a / s[0]) + y * (b / s[1]) for x, y in SIGNS[4:]], recipe, **options, places=range(4, 8))
    made = joined([replace(alone, frames=None, frame_steps=()), joint])
    texts = tuple(_text(x, a, y, b) for x, y in SIGNS)
    return replace(made, objectives=texts, layout=(2, 4), numbers=_values(model, a, b, made.pixels))


@rendering(cite="mordvintsev2018differentiable", takes="units")
def interpolate(
    model: VisionModel,
    units: Any,
    *,
    n_images: Annotated[int, Range(2, 64)] = 6,
    align: Annotated[float, Range(0, 1e6)] = 0.1,
    align_layer: str | None = None,
    size: SideOfNoise = None,
    n_steps: AscentSteps = None,
    preset: Preset = "standard",
    parametrization: Any = "shared",
    transforms: Transforms = None,
    seed: Seed = 0,
    batch: Batch = "auto",
    precision: Precision = "exact",
    frames: Frames = (),
) -> Rendering:
    """The way from the picture of one unit to that of another, in pictures that keep things at the same place.

    Picture i of n raises (1 - t) A / s_A + t B / s_B, t = i / (n - 1), s as in `neuron_interaction`, minus `align` times
    sum_d 2^-d mean((a_i - a_i+-d)^2) / mean(a^2), a the activation at the layer `align_layer`, d up to 4: the difference from
    the neighbours, relative to the activation of the units' own pictures. The pictures share their coarse parts. numbers:
    `first` and `second` (n,), the values of A and B, and `t`. `units` are two, as for `visualize`.

    Args:
        n_images: number of pictures, both ends included.
        align: weight of the alignment: at 1 pictures of the built-in model hardly differ; at 0 they share coarse parts alone.
        align_layer: layer at which neighbours are alike; None: the units' own, for classes the last map with 10 cells per side.
        parametrization: form of the pictures: "shared", with coarse parts in common, or any other, as for `visualize`.
        batch: no effect: the pictures are made together.

    Example:
        >>> tp.interpolate(model, ["blocks.3:5", "blocks.3:2"], size=32, n_steps=2).numbers["t"]
        tensor([0.0000, 0.2000, 0.4000, 0.6000, 0.8000, 1.0000])
    """
    a, b = _pair(model, units)
    recipe = recipe_of(preset, n_steps, None, transforms, precision)
    options: dict[str, Any] = {"size": as_size(model, size), "seed": seed}
    alone = render(model, [a, b], recipe, **options, batch=batch, frames=(0,), places=())
    s = _reached(model, (a, b), alone, rows=(0, 1))
    path = O.interpolate(a / s[0], b / s[1])
    if align:
        path = path + _aligned(model, align_layer or map_layer(model, a, b), alone.pixels, align)
    recipe = replace(recipe, parametrization=as_parametrization(parametrization))
    made = render(model, [path], recipe, **options, group=n_images, batch=batch, frames=frames)
    t = torch.linspace(0, 1, n_images, device=made.pixels.device, dtype=made.pixels.dtype)
    texts = tuple(f"{1 - one:.2g} {a} + {one:.2g} {b}" for one in t.tolist())
    return replace(made, objectives=texts, numbers={**_values(model, a, b, made.pixels), "t": t})


def _pair(model: VisionModel, units: Any) -> tuple[O.Objective, O.Objective]:
    found = O.as_objectives(model, units)
    same = len(found) == 2 and found[0].needs == found[1].needs and all(isinstance(need, Unit) for need in found[0].needs)
    if len(found) != 2 or same:
        given = "one of them twice" if same else str(len(found))
        raise MethodError(f'two different units are combined, such as ["layer:5", "layer:7"], not {given}')
    return found[0], found[1]


def _reached(model: VisionModel, units: Sequence[O.Objective], alone: Rendering, rows: Sequence[int]) -> list[float]:
    """Returns how much each unit's own picture raises its value above that of the initial noise (frame 0); 1 if not at all."""
    assert alone.frames is not None
    found = []
    for one, row in zip(units, rows, strict=True):
        before, after = measure(model, one, torch.stack([alone.frames[0, row], alone.pixels[row]])).tolist()
        found.append(after - before if after > before else 1.0)
    return found


def _values(model: VisionModel, a: O.Objective, b: O.Objective, pixels: Tensor) -> dict[str, Tensor]:
    """Returns {"first", "second"}: the values of units a and b in every finished picture, (n,) each."""
    return {name: measure_each(model, [one] * len(pixels), pixels) for name, one in (("first", a), ("second", b))}


def _text(x: int, a: O.Objective, y: int, b: O.Objective) -> str:
    terms = [f"{'-' if sign < 0 else '+'} {one}" for sign, one in ((x, a), (y, b)) if sign]
    return " ".join(terms).removeprefix("+ ")


def _aligned(model: VisionModel, layer: str, pixels: Tensor, weight: float) -> O.Objective:
    """Returns the alignment objective at a layer, relative to the mean square of its activation for `pixels`."""
    name = named_layer(model, layer)
    size = float(measure(model, O.deep_dream(name), pixels).mean())
    return O.alignment(name) * (weight / (size or 1.0))
