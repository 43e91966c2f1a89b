"""Caricatures: pictures that exaggerate what a whole layer found in a photograph."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from torch import Tensor

from tapetum.border.methods import rendering
from tapetum.border.sentences import AscentSteps, DetailedLayer, Frames, Parametrization, Preset, Seed, Transforms
from tapetum.data.preprocessing import size_of
from tapetum.engines.render import measure_each, render
from tapetum.engines.render import objectives as O
from tapetum.families.compositions.grids import found_in, named_or_detailed
from tapetum.families.visualizations import recipe_of
from tapetum.models.vision_model import VisionModel
from tapetum.types import Batch, MethodError, Precision, Range, Rendering


@rendering(cite="lucid2018", takes="images")
def caricature(
    model: VisionModel,
    images: Tensor,
    *,
    layer: DetailedLayer | None = None,
    cosine_power: Annotated[float, Range(0, 8)] = 1,
    compare: Literal["whole", "places"] = "whole",
    n_steps: AscentSteps = None,
    preset: Preset = "standard",
    parametrization: Parametrization = None,
    transforms: Transforms = None,
    seed: Seed = 0,
    batch: Batch = "auto",
    precision: Precision = "exact",
    frames: Frames = (),
) -> Rendering:
    """A picture with everything that a layer found in an image, only more of it.

    With a the layer's activation of the picture and g that of the image, it raises (a . g / |g|^2) max(.1, cos(a, g))^p over
    all places at once, from noise: 1 for the image itself, and more where its traits are exaggerated. pixels (n, 3, h, w) of
    the images' size; scores are this value; numbers of the finished pictures: `dot` a . g / |g|^2 and `cosine`. The formula is
    lucid's, whose cosine leaves |a| out.

    Args:
        cosine_power: p: 0 strengthens everything that was found; .5, 1 and 2 keep ever closer to its direction.
        compare: whole, one cosine over all places, or places: dot and cosine at each place, then their mean over places
            (in units of |g|^2 / places), so that weak activations count in their own places.

    Example:
        >>> tp.caricature(model, images, layer="blocks.3", n_steps=2).numbers["cosine"]
    """
    name = named_or_detailed(model, layer)
    given = found_in(model, images, name)
    zero = [row for row in range(len(given)) if not given[row].any()]
    if zero:
        raise MethodError(f"{name} is zero everywhere for image {zero[0]}: there is nothing to exaggerate")
    wanted = [_objective(name, one, cosine_power, compare) for one in given]
    recipe = recipe_of(preset, n_steps, parametrization, transforms, precision)
    made = render(model, wanted, recipe, size=size_of(images), seed=seed, batch=batch, frames=frames)
    return replace(
        made,
        objectives=tuple(f"image {row} in {name}" for row in range(len(given))),
        numbers={
            "dot": measure_each(model, [O.dot_cosine(name, one, cosine_power=0) for one in given], made.pixels),
            "cosine": measure_each(model, [O.cosine_similarity(name, one) for one in given], made.pixels),
        },
    )


def _objective(layer: str, given: Tensor, p: float, compare: str) -> O.Objective:
    if compare == "whole":
        return O.dot_cosine(layer, given, cosine_power=p)
    places = given.shape[-2] * given.shape[-1]
    return O.tensor_direction(layer, given, cosine_power=p) * (places / float(given.square().sum()))
