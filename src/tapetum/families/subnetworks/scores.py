"""Scores of units, from which masks are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from tapetum.border.layers import all_layers, layer_of
from tapetum.border.subjects import border
from tapetum.engines.backward import composites
from tapetum.engines.backward.relevance import relevance_at
from tapetum.engines.gradients import layer_gradient
from tapetum.engines.scores import as_score
from tapetum.progress import track
from tapetum.types import Batch, ImagesLike, ModelLike, TargetLike
from tapetum.types.checks import checked_choice


def unit_scores(
    model: ModelLike,
    images: ImagesLike,
    target: TargetLike = None,
    layers: str | Sequence[str] | None = None,
    *,
    way: Literal["gradient", "relevance"] = "gradient",
    batch: Batch = "auto",
) -> dict[str, Tensor]:
    """Returns what each channel of some layers contributes to the score: {layer: (c,)}, the mean over the images.

    gradient: activation x gradient summed over places, to first order what the score loses when the channel is zero; relevance:
    the channel's LRP relevance. Both are in units of the score; above 0: for the target. `unit_mask` makes masks of them, and
    `mask_faithfulness` measures what these keep of the score, best on other images than those of the scores.

    Args:
        layers: names or globs of layers with a map; None: the last that combines several places.
        way: activation x gradient, or relevance.

    Example:
        >>> masks = tp.unit_mask(tp.unit_scores(model, images, 1, "blocks.6"), 0.5)
    """
    checked_choice(way, ("gradient", "relevance"), "way")
    with border(model, images) as (network, ready):
        score = as_score(network, ready, target)
        names = [layer_of(score, ready, None)] if layers is None else all_layers(network, layers)
        found = dict[str, Tensor]()
        for name in track(names, len(names), "layers"):
            layer_of(score, ready, name)  # refuses one that the score does not depend on
            if way == "relevance":
                parts = relevance_at(score, ready, name, composites.composite("epsilon_plus"), batch=batch)
            else:
                activation, gradient = layer_gradient(score, ready, name, batch=batch)
                parts = activation * gradient
            found[name] = parts.sum((2, 3)).mean(0).double().cpu()
    return found
