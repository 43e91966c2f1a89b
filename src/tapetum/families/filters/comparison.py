"""Filters before and after learning: the same network with random and with learned weights."""

from __future__ import annotations

from dataclasses import replace
from math import pi
from typing import Annotated

import torch
from torch import Tensor

from tapetum.border.methods import inspection
from tapetum.border.sentences import ConvolutionName, Seed
from tapetum.border.subjects import as_model
from tapetum.families.filters.weights import checked_convolution, read_filters
from tapetum.models.untrained import reset
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import FilterComparison, LayerError, ModelLike, Range

CUTOFF = 0.25
"""Frequency in cycles per cell below which a change counts as slow: half of the highest that a grid can hold."""


def untrained(model: ModelLike, seed: int = 0) -> VisionModel:
    """Returns a copy of the model with new random weights; your model stays unchanged.

    Every module draws its weights as when it is created (`reset_parameters`), by the seed; the statistics of batch-norms are
    those before any image. Parameters that no module draws (class tokens, position embeddings, scales) have their values
    shuffled instead, and `notes` of the model names them.

    Args:
        model: a `VisionModel`, a module, or a name that `load` takes.
        seed: random seed of the weights; the same seed gives the same network.

    Example:
        >>> tp.untrained(model, seed=1).weights
        'random'
    """
    made, loose = reset(as_model(model), seed)
    if loose:
        shown = ", ".join(loose[:3]) + (", ..." if len(loose) > 3 else "")
        made.notes = (f"no module draws {len(loose)} of the parameters ({shown}): their values are shuffled",)
    return made


@inspection(takes="model", question="looks_for")
def compare_filters(
    model: VisionModel,
    *,
    layer: ConvolutionName | None = None,
    k: Annotated[int, Range(1, 256)] = 64,
    seed: Annotated[Seed, Range(0, 2**31 - 1)] = 0,
) -> FilterComparison:
    """The filters of one layer before and after learning, on one scale: noise, and the patterns that it became.

    Before: the same architecture with new weights by the seed (`untrained`), since the weights that your training really
    started from are unknown. The number that tells the two apart is the share of a filter's energy in slow changes,
    ∫_{|f| <= 0.25} |W(f)|² df / ∫ |W(f)|² df, W the Fourier transform of the filter with zeros around it, f in cycles per cell,
    summed over the input channels. Random weights are white noise, whose mean share is π/16 = 0.196 for filters of any size;
    smooth filters have more, filters for fine stripes less. A 1 x 1 filter has no changes, and is refused.

    Args:
        k: number of filters that are shown; the numbers are those of all.

    Example:
        >>> print(tp.compare_filters(model, k=4))
    """
    name = checked_convolution(model, layer)
    before = untrained(model, seed)
    for sentence in before.notes:
        note(sentence)
    trained = model.weights != "random"
    if not trained:
        note(f"{model.name} has random weights itself: these filters have not learned anything")
    learned = read_filters(model, name)
    with before.pinned():
        random = read_filters(before, name)
    if learned.size == (1, 1):
        raise LayerError(f"{name} of {model.name} has filters of 1 x 1, without a pattern in space: choose a wider convolution")
    shares = [low_frequency_share(one.weights, CUTOFF).where(one.alive.cpu(), torch.nan) for one in (random, learned)]
    if dead := int((~learned.alive).sum()):
        note(f"{dead} of the {learned.channels} learned filters are next to zero and not counted: they answer to nothing")
    return FilterComparison(
        random=replace(random, weights=random.weights[:k]),
        learned=replace(learned, weights=learned.weights[:k]),
        low_random=shares[0],
        low_learned=shares[1],
        expected=white_share(CUTOFF),
        cutoff=CUTOFF,
        seed=seed,
        trained=trained,
    )


def low_frequency_share(weights: Tensor, cutoff: float = 0.25) -> Tensor:
    """Returns the share (k,) in [0, 1] of each filter's energy below `cutoff` cycles per cell, for (k, inputs, h, w).

    ∫_{|f| <= cutoff} |W(f)|² df / ∫ |W(f)|² df = Σ_ij w_i w_j K(|x_i - x_j|) / Σ_i w_i², W the Fourier transform of the
    filter with zeros around it, x_i the place of weight w_i, K(r) = cutoff · J1(2π · cutoff · r) / r the transform of the disc,
    K(0) = π · cutoff². White noise has a share of K(0) for any filter size. A filter of zeros has NaN.
    """
    h, w = weights.shape[-2:]
    places = torch.cartesian_prod(torch.arange(h), torch.arange(w)).double()
    apart = torch.cdist(places, places)
    disc = torch.where(apart == 0, white_share(cutoff), cutoff * torch.special.bessel_j1(2 * pi * cutoff * apart) / apart)
    flat = weights.detach().cpu().double().flatten(2)  # not every device has double precision
    return ((flat @ disc) * flat).sum((1, 2)) / flat.square().sum((1, 2))


def white_share(cutoff: float = 0.25) -> float:
    """Returns the low-frequency share of white noise: the area of a disc of radius `cutoff` in the unit frequency square."""
    return pi * cutoff**2
