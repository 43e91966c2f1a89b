"""Gradient attributions: how the score reacts to each value of the image."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from tapetum.engines.gradients import gradient, mean_gradient, weighted_gradient
from tapetum.engines.quadrature import Quadrature, nodes
from tapetum.engines.scores import ModelScore
from tapetum.families.border import AT_IMAGE, attribution
from tapetum.types import Batch, Range


@attribution(cite="simonyan2014saliency", reduce="max_abs", laws=("class_sensitive", AT_IMAGE))
def saliency(score: ModelScore, images: Tensor, *, batch: Batch = "auto") -> Tensor:
    """The steepness of the score at each value of the image: where a tiny change matters most.

    values = |d score / d x|, (n, c, h, w), at least 0; the heatmap is the maximum over channels, as in the paper.

    Args:
        batch: images a pass, or "auto".

    Example:
        >>> tp.saliency(model, images).heatmap().shape
        torch.Size([1, 224, 224])
    """
    return gradient(score, images, batch=batch).abs()


@attribution(cite="shrikumar2016inputxgradient", reduce="sum", laws=("class_sensitive", AT_IMAGE, "linear_exact", "dummy"))
def input_x_gradient(score: ModelScore, images: Tensor, *, batch: Batch = "auto") -> Tensor:
    """Each value of the image times its gradient: its share of the score if the model were linear.

    values = x * d score / d x, signed, (n, c, h, w), in units of the score. On a bias-free ReLU network they sum to it.

    Args:
        batch: images a pass, or "auto".

    Example:
        >>> tp.input_x_gradient(model, images, target="tabby").values.sum()
    """
    return images * gradient(score, images, batch=batch)


@attribution(cite="smilkov2017smoothgrad", reduce="max_abs", laws=("class_sensitive", "sampled"))
def smooth_grad(
    score: ModelScore,
    images: Tensor,
    *,
    n_samples: Annotated[int, Range(1, 10_000)] = 50,
    sigma: Annotated[float, Range(0, 2)] = 0.15,
    tolerance: Annotated[float | None, Range(1e-6, 1)] = None,
    generator: torch.Generator,
    batch: Batch = "auto",
) -> tuple[Tensor, Tensor]:
    """The gradient averaged over noisy copies of the image: what stays when the flicker of a single gradient is gone.

    values = mean over samples of d score / d (x + e), e ~ N(0, s^2), s = sigma * (max x - min x) per image; signed
    (n, c, h, w), the heatmap shows the largest magnitude over channels. `stderr` is the standard error of that mean.
    All images of a batch get the same noise, scaled, so a batch gives what its images give alone.

    Args:
        n_samples: noisy copies; the paper: 50.
        sigma: noise as a share of the image's range; the paper: 0.1 to 0.2.
        tolerance: stop an image when its standard error, averaged over places, is below this share of the largest
            magnitude; asked every 16 samples; n_samples is then the most.
        seed: of the noise.
        generator: in place of the seed.
        batch: copies a pass, or "auto".

    Example:
        >>> tp.smooth_grad(model, images, n_samples=25, seed=1).stderr.max()
    """
    spread = sigma * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))
    noise = torch.randn(n_samples, *images.shape[1:], generator=generator, dtype=torch.float32).to(images)

    def noisy(row: int, k: int) -> Tensor:
        return images[row] + spread[row] * noise[k]

    return mean_gradient(score, len(images), noisy, n_samples, tolerance=tolerance, batch=batch)


@attribution(
    cite="sundararajan2017ig",
    reduce="sum",
    laws=("class_sensitive", "linear_exact", "dummy", "complete"),
)
def integrated_gradients(
    score: ModelScore,
    images: Tensor,
    *,
    n_steps: Annotated[int, Range(1, 10_000)] = 50,
    baseline: Tensor | float | str = "zero",
    quadrature: Quadrature = "gauss_legendre",
    batch: Batch = "auto",
) -> Tensor:
    """Each value's share of the score, gathered along a straight path from a baseline to the image.

    values = (x - x0) * integral over a in [0, 1] of d score / d (x0 + a (x - x0)), signed, (n, c, h, w). They sum to
    score(x) - score(x0) as far as the quadrature is exact (completeness).

    Args:
        n_steps: points on the path; the paper: 20 to 300.
        baseline: x0: zero (the mean colour of a normalised model), mean, black, white, blur, noise, a number, a tensor.
        quadrature: gauss_legendre (the most exact), middle, trapezoid, left, right.
        batch: points a pass, or "auto".

    Example:
        >>> tp.integrated_gradients(model, images, baseline="black").values.sum()
    """
    assert isinstance(baseline, Tensor)
    points, weights = nodes(quadrature, n_steps)
    path = weighted_gradient(
        score, len(images), lambda i, k: baseline[i] + points[k] * (images[i] - baseline[i]), weights, batch=batch
    )
    return (images - baseline) * path
