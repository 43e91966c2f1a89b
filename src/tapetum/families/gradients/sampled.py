"""Gradients averaged over random points: noisy copies of the image, and points between random baselines and the image."""

from __future__ import annotations

from typing import Annotated, TypeVar

import torch
from torch import Tensor

from tapetum.border.methods import attribution
from tapetum.border.sentences import Baseline, Copies, Sigma, Tolerance
from tapetum.engines.gradients import Term, as_it_is, sampled_gradients
from tapetum.engines.scores import ModelScore
from tapetum.engines.statistics import Draws, RunningMean, RunningVariance, stacked
from tapetum.types import Batch, MethodError, Range

LAWS = ("class_sensitive", "sampled", "live")
S = TypeVar("S", bound=RunningMean)


@attribution(cite="smilkov2017smoothgrad", reduce="max_abs", laws=LAWS)
def smooth_grad(
    score: ModelScore,
    images: Tensor,
    *,
    n_samples: Copies = 50,
    sigma: Sigma = 0.15,
    tolerance: Tolerance = None,
    generator: torch.Generator,
    batch: Batch = "auto",
) -> tuple[Tensor, Tensor]:
    """The gradient averaged over noisy copies of the image: what stays when the flicker of a single gradient is gone.

    values = mean over samples of d score / d (x + e), e ~ N(0, s^2), s = sigma * (max x - min x) per image; signed
    (n, c, h, w), the heatmap shows the largest magnitude over channels. `stderr` is the standard error of that mean.
    All images of a batch get the same noise, scaled, so a batch gives what its images give alone.

    Example:
        >>> tp.smooth_grad(model, images, n_samples=25, seed=1).stderr.max()
    """
    draws = Draws.of(generator, n_samples)
    return stacked(one.estimate for one in _noisy(score, images, RunningMean, as_it_is, sigma, draws, tolerance, batch))


@attribution(cite="hooker2019roar", reduce="max_abs", laws=LAWS)
def smooth_grad_squared(
    score: ModelScore,
    images: Tensor,
    *,
    n_samples: Copies = 50,
    sigma: Sigma = 0.15,
    tolerance: Tolerance = None,
    generator: torch.Generator,
    batch: Batch = "auto",
) -> tuple[Tensor, Tensor]:
    """The squared gradient averaged over noisy copies of the image: where the score is steep, in either direction.

    values = mean over samples of (d score / d (x + e))^2, e ~ N(0, s^2), s = sigma * (max x - min x) per image; at least 0,
    (n, c, h, w), the heatmap is the maximum over channels. It is smooth_grad squared plus var_grad (but for the n - 1 that
    var_grad divides by). `stderr` is the standard error of the mean of squares. Noise as in smooth_grad.

    Example:
        >>> tp.smooth_grad_squared(model, images, n_samples=25).heatmap()
    """
    draws = Draws.of(generator, n_samples)
    means = _noisy(score, images, RunningMean, lambda _row, _k, grad: grad**2, sigma, draws, tolerance, batch)
    return stacked(one.estimate for one in means)


@attribution(cite="adebayo2018vargrad", reduce="max_abs", laws=LAWS)
def var_grad(
    score: ModelScore,
    images: Tensor,
    *,
    n_samples: Annotated[int, Range(2, 10_000)] = 50,
    sigma: Sigma = 0.15,
    tolerance: Tolerance = None,
    generator: torch.Generator,
    batch: Batch = "auto",
) -> tuple[Tensor, Tensor]:
    """The variance of the gradient over noisy copies of the image: where the score is curved, in either direction.

    values = variance over samples of d score / d (x + e), e ~ N(0, s^2), s = sigma * (max x - min x) per image; at least 0,
    (n, c, h, w), the heatmap is the maximum over channels. The variance divides by n_samples - 1 (unbiased). `stderr` is
    that of a sample variance v from the fourth central moment m: sqrt((m - v^2 (n - 3) / (n - 1)) / n), for n samples. Noise
    as in smooth_grad. A network whose gradient is the same everywhere has no such map and is refused.

    Args:
        n_samples: noisy copies of the image, at least two; SmoothGrad's paper: 50.

    Example:
        >>> tp.var_grad(model, images, n_samples=25).heatmap()
    """
    draws = Draws.of(generator, n_samples)
    variances = _noisy(score, images, RunningVariance, as_it_is, sigma, draws, tolerance, batch)
    for one in variances:
        rounding = 1e3 * torch.finfo(one.mean.dtype).eps
        if one.value.max() <= (rounding * one.mean.abs().max()) ** 2:
            why = "the network is linear there" if sigma else "there is no noise"
            raise MethodError(f"the gradient of {score.model.name} does not vary ({why}): use smooth_grad or saliency")
    return stacked(one.estimate for one in variances)


def _noisy(
    score: ModelScore,
    images: Tensor,
    statistic: type[S],
    term: Term,
    sigma: float,
    draws: Draws,
    tolerance: float | None,
    batch: Batch,
) -> list[S]:
    """Computes a statistic of gradients at noisy copies, one per image; noise has sd sigma * (max - min of the image)."""
    spread = sigma * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))

    def noisy(row: int, k: int) -> Tensor:
        return images[row] + spread[row] * draws.normal(k, images[row])

    return sampled_gradients(score, len(images), noisy, len(draws), statistic, term, tolerance=tolerance, batch=batch)


@attribution(cite="lundberg2017shap", reduce="sum", laws=(*LAWS, "linear_exact", "dummy"))
def gradient_shap(
    score: ModelScore,
    images: Tensor,
    *,
    n_samples: Annotated[int, Range(1, 100_000)] = 200,
    baseline: Baseline,
    sigma: Sigma = 0.15,
    tolerance: Tolerance = None,
    generator: torch.Generator,
    batch: Batch = "auto",
) -> tuple[Tensor, Tensor]:
    """Each value's share of the score, averaged over random baselines and random places on the way from them.

    values = mean over samples of (x - b) * d score / d (b + a (x - b)), a uniform in [0, 1], b = baseline + e,
    e ~ N(0, s^2), s = sigma * (max x - min x) per image; signed, (n, c, h, w): integrated gradients, averaged over many
    baselines (expected gradients). They sum to score(x) - mean score(b) as far as there are enough samples. `stderr` is the
    standard error of the mean. All images of a batch get the same a and e, so a batch gives what its images give alone.

    captum and shap draw b from images of the user and add noise to x, by default none; here the noise spreads the baselines,
    since there may be no other images.

    Args:
        n_samples: draws; shap: 200; captum: 5, with a standard error about as large as the values.
        sigma: spread of the baselines, as a share of the image's range.

    Example:
        >>> tp.gradient_shap(model, images, n_samples=20, baseline="blur").stderr.mean()
    """
    spread = sigma * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))
    draws = Draws.of(generator, n_samples)

    def way(row: int, k: int) -> Tensor:
        return images[row] - baseline[row] - spread[row] * draws.normal(k, images[row])

    def point(row: int, k: int) -> Tensor:
        return images[row] - (1 - draws.uniform(k)) * way(row, k)

    means = sampled_gradients(
        score, len(images), point, n_samples, RunningMean, lambda i, k, grad: way(i, k) * grad, tolerance=tolerance, batch=batch
    )
    return stacked(one.estimate for one in means)
