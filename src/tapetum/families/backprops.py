"""Attributions by a changed backward pass."""

from __future__ import annotations

from torch import Tensor

from tapetum.engines.backward import backward_rules, guided
from tapetum.engines.gradients import gradient
from tapetum.engines.scores import ModelScore
from tapetum.families.border import AT_IMAGE, attribution
from tapetum.types import Batch, MethodError


@attribution(cite="springenberg2015guided", reduce="max_abs", laws=(AT_IMAGE,))
def guided_backprop(score: ModelScore, images: Tensor, *, batch: Batch = "auto") -> Tensor:
    """The fine structures that excite the active ReLUs: sharp, but nearly the same for every class.

    At every ReLU (any spelling, also ReLU6 and clamp(min=0)): R_in = R_out * (R_out > 0) * (x > 0). values: signed,
    (n, c, h, w). It restores the image's edges and is only weakly sensitive to the class and to the weights
    (Adebayo et al. 2018, adebayo2018sanity): read it as "which details", never as "why this class". A network without
    ReLUs is refused, since the answer would be the plain gradient.

    Args:
        batch: images a pass, or "auto".

    Example:
        >>> tp.guided_backprop(model, images).heatmap()
    """
    with backward_rules({"relu": guided}) as applied:
        values = gradient(score, images, batch=batch)
    if applied.count == 0:
        raise MethodError(
            f"{score.model.name} has no ReLU, so guided backprop is the plain gradient; use saliency or smooth_grad"
        )
    return values
