"""Before and after: the same network with random and with learned weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch

from tapetum.border.inspecting import inspection
from tapetum.border.methods import as_model
from tapetum.families.filters.kernels import low_frequency_share, white_share
from tapetum.families.filters.weights import checked_convolution, first_convolution, read_filters
from tapetum.models.untrained import reset
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import FilterComparison, LayerError, ModelLike, Range

CUTOFF = 0.25
"""Cycles a cell: half of the fastest change that a grid of cells can hold."""


def untrained(model: ModelLike, seed: int = 0) -> VisionModel:
    """The same architecture with new random weights: a private copy, so your model stays as it is.

    Every module draws its weights as it does when it is made (`reset_parameters`), by the seed; the statistics of
    batch-norms are those before any image. Parameters that no module draws (class tokens, position embeddings, scales) have
    their values shuffled instead, and `notes` of the model names them.

    Args:
        model: a `VisionModel`, a module, or a name that `load` takes.
        seed: of the weights; the same seed gives the same network.

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
    layer: str | None = None,
    k: Annotated[int, Range(1, 256)] = 64,
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0,
) -> FilterComparison:
    """The filters of one layer before and after learning, on one scale: noise, and what became of it.

    Before: the same architecture with new weights by the seed (`untrained`); what your weights really started from nobody
    knows. The number that tells them apart is the share of a filter's energy in slow changes, ∫_{|f| <= 0.25} |W(f)|² df /
    ∫ |W(f)|² df, W the Fourier transform of the filter with zeros around it, f in cycles a cell, summed over the channels it
    reads. Random weights are white noise, whose mean share is π/16 = 0.196 for filters of any size; smooth filters have more,
    filters for fine stripes less. A 1 x 1 filter has no changes, and is refused.

    Args:
        layer: name of a convolution; None: the first that runs.
        k: how many filters are shown; the numbers are those of all.
        seed: of the random weights.

    Example:
        >>> print(tp.compare_filters(model, k=4))
    """
    name = first_convolution(model) if layer is None else checked_convolution(model, layer)
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
