"""Pictures of what a layer found in a photograph: one for each place, or one for each group of channels.

At each place an activation is a vector over channels. A picture optimised to align with this vector shows what the network
sees at the place.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Annotated, TypeAlias

import torch
from torch import Tensor

from tapetum.border.layers import named_layer, positive_layers
from tapetum.border.methods import rendering
from tapetum.border.sentences import AscentSteps, DetailedLayer, Parametrization, Preset, Seed, SideOfNoise, Transforms
from tapetum.engines.batching import batch_size
from tapetum.engines.probe import activations
from tapetum.engines.render import objectives as O
from tapetum.engines.render import render
from tapetum.engines.render.sizes import as_size, small_size
from tapetum.families.compositions.directions import factorize
from tapetum.families.visualizations import recipe_of
from tapetum.models.choice import detailed_layer
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import Batch, MethodError, Precision, Range, Rendering

CELLS = 64
"""Largest number of small pictures per batch: larger batches are no faster (measured at 48 px on a CPU)."""

CELL_PX = 48
"""Default side of a cell's picture in px: shapes are visible, and a whole grid fits on a page."""

MOST_CELLS = 4096

CosinePower: TypeAlias = Annotated[float, Range(0, 8), "p: larger powers keep a picture closer to its direction."]


@rendering(cite="olah2018building", takes="images")
def activation_grid(
    model: VisionModel,
    images: Tensor,
    *,
    layer: DetailedLayer | None = None,
    cosine_power: CosinePower = 1,
    size: int | str | tuple[int, int] | None = None,
    n_steps: Annotated[int, Range(1, 100_000)] = 96,
    preset: Preset = "standard",
    parametrization: Parametrization = None,
    transforms: Transforms = None,
    seed: Seed = 0,
    batch: Batch = "auto",
    precision: Precision = "exact",
) -> Rendering:
    """View of a layer at every place of an image: one small picture for the activation vector at each place.

    The picture of place (i, j) raises the mean over its map of (a . u) max(.1, cos(a, u))^p, u = a_ij / |a_ij| the direction
    of the layer's activation there. pixels (n * rows * columns, 3, h, w), row by row; `layout` (n * rows, columns), the grids
    of several images one below the other; numbers: `magnitude` |a_ij|, the strength of the activation there. A place where the
    layer is zero has no direction: its picture has the status `silent`. `tp.sheet` makes one picture of the grid. p is 0 in the
    paper's simplest form; 1 keeps each cell closer to its direction.

    Args:
        size: side of each cell in px, or (height, width); None: 48, or the network's own size where it takes no other.
        n_steps: steps of ascent for each cell.

    Example:
        >>> tp.activation_grid(model, images, layer="blocks.6", size=16, n_steps=2).layout
        (7, 7)
    """
    name = named_or_detailed(model, layer)
    maps = found_in(model, images, name)
    n, _, rows, columns = maps.shape
    if n * rows * columns > MOST_CELLS:
        raise MethodError(f"{name} has {rows} x {columns} places, {n * rows * columns} in all; up to {MOST_CELLS} are made")
    vectors = maps.permute(0, 2, 3, 1).flatten(0, 2).contiguous()  # contiguous: other strides may change the rounding of sums
    wanted = [towards(name, _unit(vector), cosine_power) for vector in vectors]
    pixels = small_size(model, CELL_PX) if size is None else as_size(model, size)
    recipe = recipe_of(preset, n_steps, parametrization, transforms, precision)
    made = render(model, wanted, recipe, size=pixels, seed=seed, batch=_cells(model, batch, pixels))
    texts = tuple(f"{name} @ {i},{j}" for _ in range(n) for i in range(rows) for j in range(columns))
    return replace(made, objectives=texts, layout=(n * rows, columns), numbers={"magnitude": vectors.norm(dim=1)})


@rendering(cite="olah2018building", takes="images")
def neuron_groups(
    model: VisionModel,
    images: Tensor,
    *,
    layer: str | None = None,
    n_groups: Annotated[int, Range(1, 64)] = 6,
    cosine_power: CosinePower = 1,
    size: SideOfNoise = None,
    n_steps: AscentSteps = None,
    preset: Preset = "standard",
    parametrization: Parametrization = None,
    transforms: Transforms = None,
    seed: Seed = 0,
    batch: Batch = "auto",
    precision: Precision = "exact",
) -> Rendering:
    """Patterns that a layer found in an image, as a few groups of channels: a picture of each, and where in the image it is.

    The activation A (places, channels) >= 0 is factorised, A ~ W H, W (places, k) >= 0 and H (k, channels) >= 0, for each image
    separately; the picture of group g raises the mean over its map of (a . h_g) max(.1, cos(a, h_g))^p. pixels
    (n * k, 3, h, w), strongest group first; `layout` (n, k); numbers: `places` (n * k, rows, columns), the maps w_g, with
    |h_g| = 1; `magnitude` |w_g|; `missed` the share |A - W H| / |A| of the image's activation that no group covers. Negative
    activations count as zero (in `notes`).

    Args:
        layer: name or None: the first layer without negative values from the last with 10 cells per side on (in `notes`).
        n_groups: k, the number of groups.

    Example:
        >>> tp.neuron_groups(model, images, n_groups=2, size=32, n_steps=2).layout
        (1, 2)
    """
    name = named_or_detailed(model, layer, positive=True)
    maps = found_in(model, images, name)
    if (maps < 0).any():
        note(f"{name} has negative activations, which count as zero here")
    found = [factorize(one.clamp(min=0).flatten(1).T, n_groups, seed=seed) for one in maps]
    wanted = [O.direction(name, h, cosine_power=cosine_power) for factors in found for h in factors.directions]
    recipe = recipe_of(preset, n_steps, parametrization, transforms, precision)
    made = render(model, wanted, recipe, size=as_size(model, size), seed=seed, batch=batch)
    shares = torch.cat([factors.shares.T for factors in found])
    return replace(
        made,
        objectives=tuple(f"group {k + 1} of {name}" for _ in found for k in range(n_groups)),
        layout=(len(maps), n_groups),
        numbers={
            "places": shares.view(-1, *maps.shape[-2:]),
            "magnitude": shares.norm(dim=1),
            "missed": torch.stack([one.errors[-1] for one in found]).repeat_interleave(n_groups),
        },
    )


def named_or_detailed(model: VisionModel, layer: str | None, *, positive: bool = False) -> str:
    """Returns the named layer; for None the last with a fine grid (`positive`: without negative values), and adds a note."""
    if layer is not None:
        return named_layer(model, layer)
    name, reason = detailed_layer(model.survey)
    if positive:
        later = next(iter(positive_layers(model, name)), name)
        if later != name:
            name, reason = later, f"the first layer from {name} on, of the same grid, without negative activations"
    note(f"layer {name} was chosen: {reason}")
    return name


def found_in(model: VisionModel, images: Tensor, layer: str) -> Tensor:
    """Returns a layer's activation (n, c, h, w); one pass per image, as optimisation amplifies the rounding of batches."""
    return torch.cat([activations(model, one, layer) for one in images.split(1)])


def _unit(vector: Tensor) -> Tensor:
    length = vector.norm()
    return vector / length if length else torch.zeros_like(vector)


def towards(layer: str, direction: Tensor, cosine_power: float) -> O.Objective:
    """Returns the objective of a direction; for a vector of zeros, which has none, an objective that is always 0."""
    if not direction.any():
        return O.Objective(f"nothing of {layer}", (layer,), lambda seen: 0 * seen[layer].flatten(1).sum(1))
    return O.direction(layer, direction, cosine_power=cosine_power)


def _cells(model: VisionModel, batch: Batch, size: tuple[int, int]) -> int:
    """Returns the number of cells per batch: as many as have the pixels of one batch of images, at most 64."""
    if batch != "auto":
        return batch_size(model, batch)
    share = size[0] * size[1] / prod(model.size)
    return max(1, min(CELLS, int(batch_size(model, "auto", gradients=True) / share)))
