"""`layer="best"`: chooses a layer by measuring the faithfulness of the map at each candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isnan
from typing import Any

from torch import Tensor

from tapetum.border.keywords import BEST, chooser
from tapetum.border.layers import automatic_layer
from tapetum.engines.scores import ModelScore, as_score
from tapetum.families.metrics.curves import faithfulness
from tapetum.models.depths import depths
from tapetum.models.vision_model import VisionModel
from tapetum.types import Attribution, LayerError, Method, MethodError, TargetLike

DEPTHS = 4
"""Number of candidates besides the automatic choice: layers from early to deep."""


@chooser(BEST)
def best_layer(
    method: Method, model: VisionModel, images: Tensor, target: TargetLike, keywords: Mapping[str, Any]
) -> Attribution:
    """Returns the map at the layer with the highest mean of insertion - deletion over the images; `tried` has all means."""
    found: dict[str, Attribution] = {}
    tried: dict[str, tuple[float, ...]] = {}
    for layer in layers_to_try(method, as_score(model, images, target, method.scale), images):
        try:
            one = method.function(model, images, target, **{**keywords, "layer": layer})
        except (LayerError, MethodError):
            continue  # layers at which this method cannot work are skipped
        target = list(one.explains) if not callable(one.explains[0]) else target
        found[layer], tried[layer] = one, tuple(faithfulness(model, images, one).tolist())
    if not found:
        raise LayerError(f"{method.name} gives no map at any layer of {model.name}")
    means = {layer: sum(numbers) / len(numbers) for layer, numbers in tried.items()}
    ranked = sorted(found, key=lambda layer: float("-inf") if isnan(means[layer]) else means[layer], reverse=True)
    best = found[ranked[0]]
    table = ", ".join(f"{layer} {means[layer]:+.3f}" for layer in ranked)
    note = f"layer {ranked[0]} was chosen: the highest insertion - deletion ({table})"
    return replace(best, notes=(note, *best.notes), tried={layer: tried[layer] for layer in ranked})


def layers_to_try(method: Method, score: ModelScore, images: Tensor) -> list[str]:
    """Returns the names of the layers to try: the automatic choice, then others from deep to early."""
    chosen, _ = automatic_layer(score, images, method.laws)
    return list(dict.fromkeys([chosen, *reversed(depths(score.model, DEPTHS))]))
