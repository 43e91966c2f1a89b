"""Inspections: what the layers of a model found in an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from tapetum.engines.probe import capture
from tapetum.families.border import as_model, describe
from tapetum.models.vision_model import VisionModel
from tapetum.registry import register
from tapetum.types import ActivationMaps, ImagesLike, LayerError, ModelLike, Prediction, Range


def predict(model: ModelLike, images: ImagesLike, k: int = 5) -> list[list[Prediction]]:
    """The k most probable classes of each image: softmax over the logits (one logit: the sigmoid)."""
    from tapetum.engines.scores import forward_logits

    network = as_model(model)
    ready = network.as_images(images)
    table = forward_logits(network, ready)
    probabilities = table.sigmoid() if table.shape[1] == 1 else table.softmax(1)
    top = probabilities.topk(min(k, table.shape[1]))
    return [
        [_prediction(network, i, p) for i, p in zip(*row, strict=True)]
        for row in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]


def _prediction(model: VisionModel, index: int, probability: float) -> Prediction:
    label = None if model.labels is None or index >= len(model.labels) else model.labels[index]
    return Prediction(index, label, probability)


def activation_maps(
    model: ModelLike,
    images: ImagesLike,
    *,
    layers: Sequence[str] | str | None = None,
    k: Annotated[int, Range(1, 100_000)] = 4,
    by: Literal["variance", "mean", "max"] = "variance",
) -> list[ActivationMaps]:
    """What layers found in the image: the k channels of each that stand out most.

    values (n, k, h, w), the activations of each image's own top channels, ranked over places by `by`.

    Args:
        layers: names or globs; None: an early, a middle and a deep layer.
        k: channels a layer.
        by: variance (structure), mean (amount) or max (peak) over places.

    Example:
        >>> [maps.layer for maps in tp.activation_maps(model, images)]
    """
    network = as_model(model)
    ready = network.as_images(images)
    names = depths(network) if layers is None else network.find_layers(layers)
    for name in names:
        if network.survey[name].grid is None:
            raise LayerError(f"{name} of {network.name} gives no map (n, c, h, w) to show")
    with torch.inference_mode(False), torch.no_grad(), capture(network, names) as acts:
        network(ready)
    height, width = ready.shape[-2:]
    return [_top_channels(acts[name], name, (int(height), int(width)), k, by) for name in names]


def _top_channels(maps: Tensor, layer: str, size: tuple[int, int], k: int, by: str) -> ActivationMaps:
    rank = {"variance": maps.var((2, 3), correction=0), "mean": maps.mean((2, 3)), "max": maps.amax((2, 3))}[by]
    channels = rank.topk(min(k, maps.shape[1])).indices
    chosen = torch.stack([one[index] for one, index in zip(maps, channels, strict=True)])
    return ActivationMaps(chosen, channels, layer, size, by)


def depths(model: VisionModel, n: int = 3) -> list[str]:
    """n layers from early to deep: the last one of as many grid sizes, spread over the network's depth."""
    last_of_grid: dict[tuple[int, int], str] = {}
    for name in model.survey.order:
        layer = model.survey[name]
        if layer.grid is not None and min(layer.grid) > 1:
            last_of_grid[layer.grid] = name
    names = list(last_of_grid.values())
    if len(names) < n:  # one grid throughout, as in ViT: by order of execution instead
        names = [name for name in model.survey.order if (grid := model.survey[name].grid) and min(grid) > 1]
    if not names:
        raise LayerError(f"{model.name} has no layer with a map")
    places = torch.linspace(0, len(names) - 1, min(n, len(names))).round().int().tolist()
    return [names[place] for place in places]


register(describe(activation_maps, None, "inspection"))
