"""Attributions from a single gradient, taken at the image itself."""

from __future__ import annotations

from torch import Tensor

from tapetum.border.attributions import AT_IMAGE
from tapetum.border.methods import attribution
from tapetum.engines.gradients import gradient
from tapetum.engines.scores import ModelScore
from tapetum.types import Batch


@attribution(cite="simonyan2014saliency", reduce="max_abs", laws=("class_sensitive", AT_IMAGE))
def saliency(score: ModelScore, images: Tensor, *, batch: Batch = "auto") -> Tensor:
    """The steepness of the score at each value of the image: where a tiny change matters most.

    values = |d score / d x|, (n, c, h, w), at least 0; the heatmap is the maximum over channels, as in the paper.

    Example:
        >>> tp.saliency(model, images).heatmap().shape
        torch.Size([1, 224, 224])
    """
    return gradient(score, images, batch=batch).abs()


@attribution(cite="shrikumar2016inputxgradient", reduce="sum", laws=("class_sensitive", AT_IMAGE, "linear_exact", "dummy"))
def input_x_gradient(score: ModelScore, images: Tensor, *, batch: Batch = "auto") -> Tensor:
    """Each value of the image times its gradient: its share of the score if the model were linear.

    values = x * d score / d x, signed, (n, c, h, w), in units of the score. On a bias-free ReLU network they sum to it.

    Example:
        >>> tp.input_x_gradient(model, images, target="tabby").values.sum()
    """
    return images * gradient(score, images, batch=batch)
