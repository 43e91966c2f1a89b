"""Grad-CAM step by step: every number between the activations and the overlay."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor

from tapetum.border.layers import layer_of
from tapetum.border.methods import inspection
from tapetum.border.sentences import LayerName
from tapetum.data.preprocessing import size_of
from tapetum.engines.gradients import BeforeTarget, derivative
from tapetum.engines.probe import capture
from tapetum.engines.scores import ModelScore, as_score
from tapetum.families.cams.weighted import grad_cam
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import track
from tapetum.types import GradCamSteps, Range, TargetLike


@inspection(cite="selvaraju2017gradcam", takes="images", question="mattered")
def grad_cam_steps(
    model: VisionModel,
    images: Tensor,
    target: TargetLike = None,
    *,
    rival: int | str | None = None,
    layer: LayerName | None = None,
    k: Annotated[int, Range(1, 64)] = 3,
) -> GradCamSteps:
    """Grad-CAM with every number on the way: activations, gradients, weights, weighted maps, sum, ReLU, overlay.

    a_k = mean over places of d score / d A_k; total = sum over all c channels of a_k A_k; positive = ReLU(total); heatmap =
    positive, upsampled bilinearly. The k channels of which a_k A_k is largest (sum of magnitudes over places) are kept whole:
    activations (n, k, h, w), gradients (n, m, k, h, w); what the others add is `rest`, so the shown parts sum to the total.
    `difference` compares the total with the values = total of `grad_cam`, computed by another path: 0 but for rounding.

    With a rival each image has m = 2 targets: the same activations with other weights, which is all that makes the map one
    of a class. A layer without a map and a score without a gradient are refused.

    Args:
        rival: a second class to explain beside the target on the same images.
        k: channels to show.

    Example:
        >>> print(tp.grad_cam_steps(model, images, 1, rival=2, k=2))
    """
    wanted = [target] if rival is None else [target, rival]
    scores = [as_score(model, images, one) for one in wanted]
    name = layer_of(scores[0], images, layer)
    passes = [_differentiated(score, images, name) for score in scores]
    if not any(bool((grads != 0).any()) for _, _, grads in passes):
        note(f"the gradient is 0 everywhere at {name}: no change of this layer changes the score, so no map can show why")
    reference = [grad_cam(model, images, one, layer=name).values for one in wanted]
    texts = zip(*(score.describe(len(images)) for score in scores), strict=True)
    return steps_of(
        passes[0][1],
        torch.stack([grads for _, _, grads in passes], 1),
        k=k,
        targets=tuple(texts),
        scores=torch.stack([values for values, _, _ in passes], 1),
        size=size_of(images),
        layer=name,
        reference=torch.cat(reference, 1),
        photographs=model.denormalize(images),
    )


def _differentiated(score: ModelScore, images: Tensor, layer: str) -> tuple[Tensor, Tensor, Tensor]:
    """Returns (score, activation, gradient) from one pass with an autograd graph of the whole network.

    `grad_cam` keeps the graph only from the layer on; computing it differently here lets the two be compared.
    """
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for row in track(range(len(images)), len(images), "images"):  # one image at a time: the graph of a batch may exceed memory
        with torch.enable_grad(), capture(score.model, [layer], stop=False) as acts:
            values = score.take([row])(images[row : row + 1].detach().requires_grad_())
            maps = BeforeTarget(acts)[layer]
            parts.append((values.detach(), maps.detach(), derivative(values, maps)))
    values, maps, grads = (torch.cat(part) for part in zip(*parts, strict=True))
    return values, maps, grads


def steps_of(maps: Tensor, grads: Tensor | None, *, k: int, weights: Tensor | None = None, **facts: Any) -> GradCamSteps:
    """Computes all Grad-CAM steps from activations (n, c, h, w) and gradients (n, m, c, h, w) or weights (n, m, c)."""
    alphas = grads.mean((3, 4)) if weights is None and grads is not None else weights
    assert alphas is not None
    amounts = alphas.abs().amax(1) * maps.abs().sum((2, 3))
    channels = amounts.topk(min(k, maps.shape[1])).indices
    if k >= maps.shape[1]:
        channels = channels.sort(1).values  # all are shown: in the order of the layer
    kept = torch.stack([one[index] for one, index in zip(maps, channels, strict=True)])
    shown = torch.stack([one[:, index] for one, index in zip(alphas, channels, strict=True)])
    total = torch.einsum("nmc,nchw->nmhw", alphas, maps)
    return GradCamSteps(
        activations=kept,
        gradients=None if grads is None else torch.stack([g[:, i] for g, i in zip(grads, channels, strict=True)]),
        weights=alphas,
        channels=channels,
        rest=total - torch.einsum("nmk,nkhw->nmhw", shown, kept),
        total=total,
        **facts,
    )
