"""`layer="best"`: chooses a layer by measuring the faithfulness of the map at each candidate, and judges the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from typing import Any

import torch
from torch import Tensor

from tapetum.border.keywords import BEST, chooser
from tapetum.border.layers import automatic_layer
from tapetum.engines.scores import ModelScore, as_score
from tapetum.families.verdicts import judge
from tapetum.models.depths import depths
from tapetum.models.vision_model import VisionModel
from tapetum.types import Attribution, LayerError, Method, MethodError, TargetLike, Verdict
from tapetum.types.verdicts import SHORT

DEPTHS = 4
"""Number of candidates besides the automatic choice: layers from early to deep."""


@chooser(BEST)
def best_layer(
    method: Method, model: VisionModel, images: Tensor, target: TargetLike, keywords: Mapping[str, Any]
) -> Attribution:
    """Returns the map at the layer that is most faithful, mean over the images; `tried` has all numbers, a note the verdict.

    Layers are chosen on one grid, and the verdict is measured on others, corrected for all layers that were tried.
    """
    found: dict[str, Attribution] = {}
    for layer in layers_to_try(method, as_score(model, images, target, method.scale), images):
        try:
            one = method.function(model, images, target, **{**keywords, "layer": layer})
        except (LayerError, MethodError):
            continue  # layers at which this method cannot work are skipped
        target = list(one.explains) if not callable(one.explains[0]) else target
        found[layer] = one
    if not found:
        raise LayerError(f"{method.name} gives no map at any layer of {model.name}")
    verdicts = judge(model, images, list(found.values()))
    tried = {layer: tuple(verdicts.of(row, j).first for row in range(len(images))) for j, layer in enumerate(found)}
    means = {layer: float(torch.tensor(numbers).nanmean()) for layer, numbers in tried.items()}
    ranked = sorted(found, key=lambda layer: float("-inf") if isnan(means[layer]) else means[layer], reverse=True)
    table = ", ".join(f"{layer} {means[layer]:+.3f}" for layer in ranked)
    at = list(found).index(ranked[0])
    standing = _standing([verdicts.of(row, at) for row in range(len(images))])
    note = f"layer {ranked[0]} was chosen: the most faithful ({table}); {standing}"
    return replace(found[ranked[0]], notes=(note, *found[ranked[0]].notes), tried={layer: tried[layer] for layer in ranked})


def _standing(verdicts: Sequence[Verdict]) -> str:
    """Returns the verdict on the chosen map in words, for one image or for several."""
    if len(verdicts) == 1:
        return f"of {verdicts[0].tried} layers tried: {SHORT[verdicts[0].outcome]}"
    return f"it stands up on {sum(one.stands for one in verdicts)} of {len(verdicts)} images"


def layers_to_try(method: Method, score: ModelScore, images: Tensor) -> list[str]:
    """Returns the names of the layers to try: the automatic choice, then others from deep to early."""
    chosen, _ = automatic_layer(score, images, method.laws)
    return list(dict.fromkeys([chosen, *reversed(depths(score.model, DEPTHS))]))
