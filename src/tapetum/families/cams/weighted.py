"""CAMs of one gradient pass: how the gradient at a layer becomes weights of its channels, or of single activations."""

from __future__ import annotations

from torch import Tensor

from tapetum.border.attributions import AT_IMAGE
from tapetum.border.layers import POSITIVE
from tapetum.border.methods import attribution
from tapetum.border.sentences import LayerName, PositiveLayer
from tapetum.engines.gradients import layer_gradient
from tapetum.engines.scores import ModelScore
from tapetum.families.cams.second_order import layer_hessian_product
from tapetum.types import Batch, MethodError

LAWS = ("class_sensitive", "map_of_layer")


@attribution(cite="selvaraju2017gradcam", reduce="positive", laws=(*LAWS, AT_IMAGE, "linear_in_score"))
def grad_cam(score: ModelScore, images: Tensor, *, layer: LayerName, batch: Batch = "auto") -> Tensor:
    """The places where the layer's channels that raise the score are active.

    values = sum_k a_k A_k with a_k = mean over places of d score / d A_k; heatmap = ReLU(values).

    Example:
        >>> tp.grad_cam(model, images, target="tabby").heatmap()
    """
    maps, grads = layer_gradient(score, images, layer, batch=batch)
    weights = grads.mean((2, 3), keepdim=True)
    return (weights * maps).sum(1, keepdim=True)


@attribution(cite="chattopadhay2018gradcampp", reduce="positive", laws=(*LAWS, AT_IMAGE))
def grad_cam_plus_plus(score: ModelScore, images: Tensor, *, layer: LayerName, batch: Batch = "auto") -> Tensor:
    """Grad-CAM with weights that let several instances of the class show up, not only the largest.

    g = d score / d A; a = g^2 / (2 g^2 + g^3 sum over places of A) per place (0 where g = 0); values = sum_k w_k A_k
    with w_k = sum over places of a ReLU(g). The paper differentiates exp(score), which only scales the map.

    Example:
        >>> tp.grad_cam_plus_plus(model, images, layer="blocks.5")
    """
    maps, grads = layer_gradient(score, images, layer, batch=batch)
    return plus_plus(maps, grads, grads**2, grads**3, 1e-6)  # 1e-6 as in grad-cam: keeps dead gradients finite


def plus_plus(maps: Tensor, first: Tensor, second: Tensor, third: Tensor, eps: float) -> Tensor:
    """Returns the Grad-CAM++ map of an activation (n, c, h, w) from g, g^2, g^3 of its gradient, or from means of these."""
    alpha = second / (2 * second + maps.sum((2, 3), keepdim=True) * third + eps)
    weights = (alpha.where(second != 0, 0) * first.clamp(min=0)).sum((2, 3), keepdim=True)
    return (weights * maps).sum(1, keepdim=True)


@attribution(cite="jiang2021layercam", reduce="positive", laws=(*LAWS, AT_IMAGE))
def layer_cam(score: ModelScore, images: Tensor, *, layer: LayerName, batch: Batch = "auto") -> Tensor:
    """The single activations that raise the score, place by place: also sharp at early layers.

    values = sum_k ReLU(d score / d A_k) * A_k, each place with its own weight.

    Example:
        >>> tp.layer_cam(model, images, layer="blocks.4")
    """
    maps, grads = layer_gradient(score, images, layer, batch=batch)
    return (grads.clamp(min=0) * maps).sum(1, keepdim=True)


@attribution(cite="fu2020xgradcam", reduce="positive", laws=(*LAWS, AT_IMAGE, "linear_in_score", POSITIVE))
def xgrad_cam(score: ModelScore, images: Tensor, *, layer: PositiveLayer, batch: Batch = "auto") -> Tensor:
    """Grad-CAM in which a place counts towards a channel's weight as much as the channel is active there.

    values = sum_k w_k A_k with w_k = (sum over places of g_k A_k) / (sum over places of A_k), g = d score / d A. On a
    network of ReLUs without biases after the layer, the values sum to the score (the paper's sensitivity axiom). The paper
    assumes activations that are never negative: sums that cancel make weights explode, so without `layer` one without negative
    values is chosen.

    Example:
        >>> tp.xgrad_cam(model, images)
    """
    maps, grads = layer_gradient(score, images, layer, batch=batch)
    weights = (grads * maps).sum((2, 3), keepdim=True) / (maps.sum((2, 3), keepdim=True) + 1e-7)  # 1e-7 as in grad-cam
    return (weights * maps).sum(1, keepdim=True)


@attribution(cite="draelos2020hirescam", reduce="positive", laws=(*LAWS, AT_IMAGE, "linear_in_score"))
def hires_cam(score: ModelScore, images: Tensor, *, layer: LayerName, batch: Batch = "auto") -> Tensor:
    """The contribution of each place of the layer to the score, without averaging gradients over places.

    values = sum_k d score / d A_k * A_k, element by element: where the network after the layer is linear, exactly the
    contribution of each place to the score (up to the bias). Before global average pooling it is Grad-CAM. Before a
    normalisation of each place over its channels (LayerNorm, as in transformers) the sum is zero but for rounding, since
    the score does not change when a place's channels are scaled together: such a layer is refused.

    Example:
        >>> tp.hires_cam(model, images, target="tabby").values.sum()
    """
    maps, grads = layer_gradient(score, images, layer, batch=batch)
    shares = grads * maps
    values = shares.sum(1, keepdim=True)
    if values.abs().amax() < 1e-3 * shares.abs().sum(1).amax():
        raise MethodError(
            f"hires_cam: the channels of {layer} cancel at every place (a LayerNorm follows); name a layer behind it, or use "
            "layer_cam or grad_cam"
        )
    return values


@attribution(cite="cai2025shapleycam", reduce="positive", laws=(*LAWS, AT_IMAGE, "linear_in_score"))
def shapley_cam(score: ModelScore, images: Tensor, *, layer: LayerName, batch: Batch = "auto") -> Tensor:
    """Grad-CAM with a second-order correction: weights that are estimates of each channel's Shapley value.

    values = sum_k w_k A_k with w_k = mean over places of (g - H A / 2)_k, g = d score / d A and H A the product of the
    score's Hessian with the activation: the Taylor expansion of the score around the layer, taken back to A = 0. Where the
    network after the layer is piecewise linear (ReLU, pooling), H = 0 and this is Grad-CAM.

    Example:
        >>> tp.shapley_cam(model, images, layer="blocks.5")
    """
    maps, grads, curved = layer_hessian_product(score, images, layer, batch=batch)
    weights = (grads - curved / 2).mean((2, 3), keepdim=True)
    return (weights * maps).sum(1, keepdim=True)
