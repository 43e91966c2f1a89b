"""Predictions of a model, and activation maps of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import torch
from torch import Tensor

from tapetum.border.layers import layers_with_maps
from tapetum.border.methods import inspection
from tapetum.border.subjects import border
from tapetum.data.preprocessing import size_of
from tapetum.engines.probe import capture
from tapetum.engines.scores import answer, forward_table
from tapetum.models.depths import depths
from tapetum.models.vision_model import VisionModel
from tapetum.types import ActivationMaps, ImagesLike, MethodError, ModelLike, Number, Prediction, Range

L = TypeVar("L", Prediction, Number)


def predict(model: ModelLike, images: ImagesLike, k: int = 5) -> list[list[Prediction]] | list[list[Number]]:
    """Returns the model's answer per image: the k most probable classes, or the first k numbers of a regression.

    Probabilities follow what the model's outputs are (`tp.wrap(outputs=...)`): the softmax over logits, a sigmoid per label,
    or probabilities as the network gives them. One logit with two names gives both. A model of numbers (regression) gives
    `tp.Number(index, label, value)`, in their order.
    """
    if k < 1:
        raise MethodError(f"k is a number of classes from 1 up, not {k}")
    with border(model, images) as (network, ready):
        table, reading = forward_table(network, ready)
        labels = network.labels_of(answer(network, ready).head) or network.labels
    if reading.measured:
        return [[_line(Number, labels, i, value) for i, value in enumerate(row[:k])] for row in table.tolist()]
    top = reading.on("probability", table).topk(min(k, reading.classes))
    return [
        [_line(Prediction, labels, i, p) for i, p in zip(*row, strict=True)]
        for row in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]


def _line(kind: type[L], labels: Sequence[str] | None, index: int, value: float) -> L:
    return kind(index, None if labels is None else labels[index], value)


@inspection(takes="images")
def activation_maps(
    model: VisionModel,
    images: Tensor,
    *,
    layers: Sequence[str] | str | None = None,
    k: Annotated[int, Range(1, 100_000)] = 4,
    by: Literal["variance", "mean", "max"] = "variance",
) -> list[ActivationMaps]:
    """Maps of the k channels per layer that stand out most: what the layer found in the image.

    values (n, k, h, w), the activations of each image's own top channels, ranked over places by `by`.

    Args:
        layers: names or globs; None: an early, a middle and a deep layer.
        k: channels per layer.
        by: variance (structure), mean (amount) or max (peak) over places.

    Example:
        >>> [maps.layer for maps in tp.activation_maps(model, images)]
    """
    names = depths(model) if layers is None else layers_with_maps(model, layers)
    with capture(model, names) as acts:
        model(images)
    return [_top_channels(acts[name], name, size_of(images), k, by) for name in names]


def _top_channels(maps: Tensor, layer: str, size: tuple[int, int], k: int, by: str) -> ActivationMaps:
    channels = strength(maps, by).topk(min(k, maps.shape[1])).indices
    return ActivationMaps(chosen(maps, channels), channels, layer, size, by)


def strength(maps: Tensor, by: str) -> Tensor:
    """Returns the variance, mean or maximum over places of each channel, (n, c), from maps (n, c, h, w)."""
    if by == "variance":
        return maps.var((2, 3), correction=0)
    return maps.amax((2, 3)) if by == "max" else maps.mean((2, 3))


def chosen(maps: Tensor, channels: Tensor) -> Tensor:
    """Picks k channels per image: from maps (n, c, h, w) and channel indices (n, k) to maps (n, k, h, w)."""
    return torch.stack([one[index] for one, index in zip(maps, channels, strict=True)])
