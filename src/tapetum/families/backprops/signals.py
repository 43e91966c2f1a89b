"""Guided backprop and related methods: ReLUs pass back only positive signals."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from tapetum.border.attributions import AT_IMAGE
from tapetum.border.methods import attribution
from tapetum.border.sentences import LayerName
from tapetum.engines.backward import backward_rules, deconvolved, guided
from tapetum.engines.backward.own import relus_of_its_own
from tapetum.engines.backward.rules import Rule
from tapetum.engines.gradients import gradient, layer_gradient
from tapetum.engines.scores import ModelScore
from tapetum.types import Batch, MethodError


@attribution(cite="springenberg2015guided", reduce="max_abs", laws=(AT_IMAGE,))
def guided_backprop(score: ModelScore, images: Tensor, *, batch: Batch = "auto") -> Tensor:
    """The fine structures that excite the active ReLUs: sharp, but nearly the same for every class.

    At every ReLU (any spelling, also ReLU6 and clamp(min=0)): R_in = R_out * (R_out > 0) * (x > 0). values: signed,
    (n, c, h, w). It restores the image's edges and is only weakly sensitive to the class and to the weights
    (Adebayo et al. 2018, adebayo2018sanity): read it as "which details", never as "why this class". A network without
    ReLUs is refused, since the answer would be the plain gradient.

    Example:
        >>> tp.guided_backprop(model, images).heatmap()
    """
    return _by_relu(guided, score, images, batch, "guided backprop")


@attribution(cite="zeiler2014deconvnet", reduce="max_abs", laws=(AT_IMAGE,))
def deconvnet(score: ModelScore, images: Tensor, *, batch: Batch = "auto") -> Tensor:
    """The image projected back from the score through the transposed network: what would excite the path, not the decision.

    At every ReLU (any spelling, also ReLU6 and clamp(min=0)): R_in = R_out * (R_out > 0), whatever its input was; max-pooling
    sends back to where its maximum was (the paper's switches). values: signed, (n, c, h, w). The paper starts from one
    activation; so does target=Unit(...). Only the switches know the image: a network that has no max-pooling (MobileNets,
    EfficientNets) shows the checkerboard of its strides, the same for every image. Weakly sensitive to the class
    (adebayo2018sanity). A network without ReLUs is refused, since the answer would be the plain gradient.

    Example:
        >>> tp.deconvnet(model, images).heatmap()
    """
    return _by_relu(deconvolved, score, images, batch, "deconvnet")


@attribution(cite="selvaraju2017gradcam", reduce="max_abs")
def guided_grad_cam(
    score: ModelScore,
    images: Tensor,
    *,
    layer: LayerName,
    upsampling: Literal["bilinear", "nearest"] = "bilinear",
    batch: Batch = "auto",
) -> Tensor:
    """The fine structures of guided backprop, only where Grad-CAM finds evidence for the class.

    values = guided backprop * ReLU(Grad-CAM), the latter upsampled to the image; signed, (n, c, h, w). Where no place speaks
    for the target all values are 0. The class decides where, not what, is shown. A network without ReLUs is refused.

    Args:
        upsampling: interpolation of Grad-CAM; the paper: bilinear, captum: nearest.

    Example:
        >>> tp.guided_grad_cam(model, images, target="tabby")
    """
    signal = _by_relu(guided, score, images, batch, "guided Grad-CAM")
    maps, grads = layer_gradient(score, images, layer, batch=batch)
    cam = (grads.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).clamp(min=0)
    corners = None if upsampling == "nearest" else False
    return signal * F.interpolate(cam, images.shape[-2:], mode=upsampling, align_corners=corners)


def _by_relu(rule: Rule, score: ModelScore, images: Tensor, batch: Batch, name: str) -> Tensor:
    """Returns the gradient of the score with `rule` at the ReLUs; refuses a network without ReLUs."""
    with backward_rules({"relu": rule}) as applied:
        values = gradient(score, images, batch=batch)
    own = relus_of_its_own(score.take([0]), images[:1])
    if own:
        raise MethodError(
            f"{', '.join(own)} in {score.model.name} works as a ReLU but is an operation of its own (an autograd.Function): no "
            f"rule reaches its backward pass, so {name} would be half done; write it as F.relu, or use saliency or smooth_grad"
        )
    if applied.count == 0:
        raise MethodError(f"{score.model.name} has no ReLU, so {name} is the plain gradient; use saliency or smooth_grad")
    return values
