"""Feature visualisation: pictures that drive units, classes or directions of a network most.

A picture is optimised from noise until the unit answers as strongly as it can. Its parametrization (frequencies, decorrelated
colours) and the transforms before each pass (jitter, scale, rotation) decide whether it shows what the unit stands for, or
noise that happens to excite it.
"""

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
from tapetum.engines.render.objectives.base import Seen
from tapetum.engines.render.optimize import Recipe
from tapetum.engines.render.parametrizations import as_parametrization
from tapetum.engines.render.presets import preset as named_preset
from tapetum.engines.render.sizes import as_size
from tapetum.engines.render.transforms import as_transforms
from tapetum.families.checking import path_checks
from tapetum.models.choice import detailed_layer
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import Batch, MethodError, Precision, Range, Rendering


@rendering(cite="olah2017feature", takes="units", laws=("separate",))
def visualize(
    model: VisionModel,
    units: Any,
    *,
    size: SideOfNoise = None,
    n_steps: AscentSteps = None,
    negative: bool = False,
    diversity: Annotated[int, Range(1, 64)] = 1,
    diversity_weight: Annotated[float, Range(0, 1e6)] = 1,
    diversity_layer: str | None = None,
    preset: Preset = "best",
    parametrization: Parametrization = None,
    transforms: Transforms = None,
    seed: Seed = 0,
    batch: Batch = "auto",
    precision: Precision = "exact",
    frames: Frames = (),
    check: bool = False,
    source: Annotated[Any, "photographs for `check`: a folder, or what `tp.scan` takes."] = None,
) -> Rendering:
    """The pictures that drive units of a network most.

    x* = argmax over x of the mean over draws t of objective(network(t(x))), by gradient ascent from noise. A unit's objective
    is the mean of its channel over the map; with a position the value there; that of a class is its logit. pixels (n, 3, h, w)
    in [0, 1]; scores (n,) the objective of the finished pictures without transforms. A batch of units gives the same pictures
    as single runs. A unit that no gradient reaches has the status `silent`. `units` are "layer:5", "layer:5@row,column",
    several as "layer:0-15", "layer:3,5,7" or "layer:*", a class (index or name), a mix of these for one picture, such as
    "layer:5 + layer:9" or "0.5 * layer:5 - tabby", a `tp.Unit`, a `tp.Concept` or another target that reads the
    model's answer, one of `tp.objectives`, or a list of these.

    With `diversity` n each unit has n pictures that differ, `layout` (units, n): picture i raises the objective minus w |s|
    times the mean over the others j of cos(G_i, G_j), G the Gram matrix of a layer, s the mean objective of the n at that step,
    so that w means the same for units with large and with small values (a constant in olah2017feature). scores are without
    that term; numbers: `likeness` (n,), the mean cosine with the others.

    A picture may show what the unit never meets in photographs (geirhos2024fooling). With `check`, `checks` holds a
    `PathCheck` for each: the share of the picture's drive (activation times gradient, of channels of layers before the unit)
    that runs through the same channels as that of the nine photographs which drive the unit most. A picture is flagged where
    the share is less than half of the lowest of 24 photographs that drive other units, at p <= .05 over all layers.

    Args:
        negative: lower the objective instead: the picture that the unit answers least to.
        diversity: pictures per unit.
        diversity_weight: w; at 1 the built-in model's units keep four fifths of the score they reach alone (measured).
        diversity_layer: layer at which pictures differ; None: the unit's own, for a class the last map with 10 cells per side.
        check: tell for each picture of a unit whether photographs that drive the unit use the same channels before it.

    Example:
        >>> tp.visualize(model, "blocks.3:5", size=64, n_steps=4).scores
    """
    recipe = recipe_of(preset, n_steps, parametrization, transforms, precision)
    objectives = O.as_objectives(model, units)
    if negative:
        objectives = [-one for one in objectives]
    if source is not None and not check:
        raise MethodError("source= is for check=True: the photographs that pictures are compared with")
    options: dict[str, Any] = {"size": as_size(model, size), "seed": seed, "batch": batch, "frames": frames}
    made = _made(model, objectives, recipe, diversity, diversity_weight, diversity_layer, options)
    if not check:
        return made
    each = [one for one in objectives for _ in range(diversity)]
    found = path_checks(model, each, made.pixels, source, negative=negative, batch=batch, seed=seed)
    for one in found:
        if one.flagged:
            note(str(one))
    return replace(made, checks=found)


def _made(
    model: VisionModel,
    objectives: Sequence[O.Objective],
    recipe: Recipe,
    diversity: int,
    diversity_weight: float,
    diversity_layer: str | None,
    options: dict[str, Any],
) -> Rendering:
    """Renders the pictures: one per objective, or several that differ."""
    if diversity == 1:
        return render(model, objectives, recipe, **options)
    layers = [named_layer(model, diversity_layer or map_layer(model, one)) for one in objectives]
    wanted = [_diverse(one, layer, diversity_weight) for one, layer in zip(objectives, layers, strict=True)]
    made = render(model, wanted, recipe, **options, group=diversity)
    return _by_the_units(model, made, objectives, layers)


def recipe_of(
    preset: str, n_steps: int | None, parametrization: Any = None, transforms: Any = None, precision: Precision = "exact"
) -> Recipe:
    """Returns the preset's recipe with the given values in place of its own; None keeps the preset's value."""
    given: dict[str, Any] = {"precision": precision}
    if n_steps is not None:
        given["n_steps"] = n_steps
    if parametrization is not None:
        given["parametrization"] = as_parametrization(parametrization)
    if transforms is not None:
        given["transforms"] = as_transforms(transforms)
    return replace(named_preset(preset), **given)


def map_layer(model: VisionModel, *objectives: O.Objective) -> str:
    """Returns the first layer with a map that the objectives read; else the last layer with a fine grid (`detailed_layer`)."""
    layers = [layer for one in objectives for layer in one.layers if layer != O.OUTPUT]
    with_maps = [layer for layer in layers if model.survey[layer].grid is not None]
    return with_maps[0] if with_maps else detailed_layer(model.survey)[0]


def _diverse(one: O.Objective, layer: str, weight: float) -> O.Objective:
    """Adds a diversity term at `layer` to an objective; `weight` is relative to the mean |objective| of the pictures."""
    differ = O.diversity(layer)

    def value(seen: Seen) -> Tensor:
        reached = one(seen)
        return reached + weight * reached.detach().abs().mean() * differ(seen) / (len(seen) - 1)

    return O.Objective(one.name, (*one.needs, layer), value)


def _by_the_units(model: VisionModel, made: Rendering, objectives: Sequence[O.Objective], layers: Sequence[str]) -> Rendering:
    """Returns the rendering with scores that leave out the diversity term, and `likeness` among the pictures of each unit."""
    n = len(made) // len(objectives)
    scores = measure_each(model, [one for one in objectives for _ in range(n)], made.pixels)
    groups = zip(made.pixels.split(n), layers, strict=True)
    alike = [-measure(model, O.diversity(layer), pixels) / (n - 1) for pixels, layer in groups]
    return replace(made, scores=scores, layout=(len(objectives), n), numbers={"likeness": torch.cat(alike)})
