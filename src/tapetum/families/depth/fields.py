"""Receptive fields of the middle place of a layer: computed from kernels and strides, and measured with gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from tapetum.border.methods import inspection
from tapetum.border.sentences import MapLayers, Seed
from tapetum.data.preprocessing import size_of
from tapetum.families.depth.energy import gradient_energy, smallest_square, support, within
from tapetum.families.depth.layers import named_or_five
from tapetum.models.layers import Survey
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import Range, ReceptiveFields
from tapetum.types.depth import Field

SHARE = 0.95
"""Share of the squared gradient inside the effective receptive field."""


@inspection(cite="luo2016understanding", takes="images")
def receptive_fields(
    model: VisionModel,
    images: Tensor,
    *,
    layers: MapLayers = None,
    on: Literal["noise", "images"] = "noise",
    n: Annotated[int, Range(1, 1000)] = 4,
    seed: Seed = 0,
) -> ReceptiveFields:
    """Receptive field of the middle place of each layer: by the arithmetic of windows, and by its gradients.

    theory: the rows and columns that windows, strides and paddings let it see (they may lie outside the image). energy
    (layers, h, w), the mean over passes of sum_colours (d/dx sum_c s_c a_c(middle))² with random signs s_c, so that channels
    cannot cancel. measured: all pixels where the energy is not zero, never more than the theory. effective: the smallest square
    that holds 95 % of the energy, which is usually much smaller. Sides in px. A layer after attention or a gate from the whole
    image has no theoretical field, only a measured one.

    Args:
        on: noise (n images of unit variance) or images (the given ones, n passes each with new signs).
        n: number of passes.

    Example:
        >>> print(tp.receptive_fields(model, images))
    """
    names = named_or_five(model, layers)
    given = images if on == "images" else None
    fields, energy = measured(model, names, size_of(images), n, seed, given)
    photograph = model.denormalize(images[:1])[0]
    return ReceptiveFields(model.name, fields, energy.to(photograph), photograph, _words(on, n, len(images)))


def _words(on: str, n: int, images: int) -> str:
    if on == "noise":
        return f"{n} images of noise"
    return f"{images} image{'s' * (images > 1)}, {n} pass{'es' * (n > 1)} each"


def measured(
    model: VisionModel, layers: Sequence[str], size: tuple[int, int], n: int, seed: int, images: Tensor | None = None
) -> tuple[tuple[Field, ...], Tensor]:
    """Measures the receptive fields of layers; also returns energy maps (layers, h, w), each divided by its largest value.

    Measured on n images of noise, or n times on the given images.
    """
    generator = torch.Generator().manual_seed(seed)
    survey = model.survey_at(size)
    if images is None:
        ready = torch.randn(n, model.preprocessing.channels, *size, generator=generator).to(model.device, model.dtype)
    else:
        ready = images.repeat(n, 1, 1, 1)
    energy = gradient_energy(model, layers, ready, generator)
    fields = tuple(_field(survey, layer, *energy[layer]) for layer in layers)
    _note(survey, fields)
    return fields, torch.stack([energy[layer][0] / energy[layer][0].amax().clamp(min=1e-300) for layer in layers])


def _field(survey: Survey, layer: str, energy: Tensor, place: tuple[int, int]) -> Field:
    known = survey[layer]
    assert known.grid is not None  # layers without a map were refused
    found = support(energy), smallest_square(energy, SHARE)
    return Field(layer, known.grid, place, known.stride, known.receptive_field, survey.window(layer, place), *found)


def _note(survey: Survey, fields: Sequence[Field]) -> None:
    pooled = [one.layer for one in fields if one.layer in survey.pooled]
    if pooled:
        note(
            f"{', '.join(pooled)}: behind a normalisation by the image's own mean and variance, so each place depends a little "
            "on all; the theory counts windows alone"
        )
    blind = [one.layer for one in fields if one.support is None]
    if blind:
        note(f"{', '.join(blind)}: no gradient reached the image from the middle place: nothing was measured")
    for one in fields:
        beyond = one.theory and one.support and not within(one.support, one.theory)
        if beyond and one.layer not in survey.pooled:
            note(f"{one.layer}: gradients reach beyond the theoretical field; please report this network")
