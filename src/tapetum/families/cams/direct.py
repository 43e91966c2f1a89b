"""CAMs with weights read from the linear head, or from the activations alone."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from tapetum.border.layers import POOLED, POSITIVE
from tapetum.border.methods import attribution
from tapetum.border.sentences import PositiveLayer
from tapetum.engines.batching import over_images
from tapetum.engines.gradients import derivative, layer_gradient
from tapetum.engines.probe import activations
from tapetum.engines.resume import resume
from tapetum.engines.scores import ModelScore
from tapetum.types import Batch, MethodError, Range

TARGET_FREE = "target_free"
"""Law (property) of methods that do not use the score: every class has the same map."""


@attribution(cite="zhou2016cam", reduce="positive", laws=("class_sensitive", "map_of_layer", "linear_in_score", POOLED))
def cam(score: ModelScore, images: Tensor, *, layer: str, batch: Batch = "auto") -> Tensor:
    """The layer's channels weighted by the class weights of the linear layer that reads their means.

    values = sum_k w_k A_k, where score = sum_k w_k mean(A_k) + b: the mean of the values over places is the score without
    the bias. The weights are not looked up by a layer's name: they are h w d score / d A, so a batch-norm or dropout on the
    way is taken into account. That derivative must be one number per channel, whatever the activation; a network with
    anything but global average pooling and linear layers after the layer is refused.

    Args:
        layer: name or None: the last layer with a map, which is what the head pools (the choice is in `notes`).

    Example:
        >>> tp.cam(model, images).values.mean((1, 2, 3))
    """
    maps, grads = layer_gradient(score, images, layer, batch=batch)
    _check_linear_head(score, images, layer, grads)
    weights = grads.sum((2, 3), keepdim=True)  # of h w equal numbers
    return (weights * maps).sum(1, keepdim=True)


def _check_linear_head(score: ModelScore, images: Tensor, layer: str, grads: Tensor) -> None:
    """Refuses a head that is not linear in the channels' means.

    The gradient has to be equal at all places, also at the first image's activation scaled up until biases are negligible.
    """
    limit = torch.finfo(grads.dtype).eps ** 0.5 * grads.abs().amax((1, 2, 3), keepdim=True)
    equal = bool(((grads - grads.mean((2, 3), keepdim=True)).abs() <= limit).all()) and bool((limit > 0).all())
    if equal:
        tail = resume(score.take([0]), layer, images[:1])
        others = torch.cat([1000 * tail.activation, -1000 * tail.activation])  # each ReLU is active at one of the two
        with torch.enable_grad():
            leaf = others.requires_grad_()
            equal = bool(((derivative(tail(leaf), leaf) - grads[:1]).abs() <= limit[:1]).all())
    if not equal:
        raise MethodError(
            f"cam needs global average pooling and then only linear layers: what {score.model.name} does behind {layer} "
            "is something else; use grad_cam"
        )


@attribution(cite="fuad2020fem", reduce="positive", laws=("map_of_layer", "forward_only", POSITIVE, TARGET_FREE))
def fem(
    score: ModelScore, images: Tensor, *, layer: PositiveLayer, k: Annotated[float, Range(0, 10)] = 2.0, batch: Batch = "auto"
) -> Tensor:
    """The places where the layer's channels have their peaks, for any class: what the network found, not what it decided.

    values = sum_k w_k A_k, at least 0 on a layer without negative values; w_k is the share of places at which channel k
    exceeds its own mean by more than `k` standard deviations. The target plays no part: every class has the same map.

    Args:
        k: standard deviations above the mean; the paper: 2.

    Example:
        >>> tp.fem(model, images, k=1)
    """

    def work(part: ModelScore, some: Tensor) -> Tensor:
        with part.model.at_rows(part.rows):
            maps = activations(part.model, some, layer)
        spread = maps.std((2, 3), correction=0, keepdim=True)
        peaks = maps > maps.mean((2, 3), keepdim=True) + k * spread
        return (peaks.to(maps.dtype).mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)

    return over_images(score, images, work, batch)
