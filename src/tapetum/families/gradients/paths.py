"""Gradients integrated along a path that ends at the image; the values sum to the change of the score along the path."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from tapetum.border.methods import attribution
from tapetum.border.sentences import Baseline
from tapetum.engines.batching import batch_size
from tapetum.engines.gradients import gathered, weighted_gradient
from tapetum.engines.perturb import scores
from tapetum.engines.scores import ModelScore
from tapetum.families.gradients.quadrature import Quadrature, nodes
from tapetum.notes import note
from tapetum.types import Batch, Range


@attribution(cite="sundararajan2017ig", reduce="sum", laws=("class_sensitive", "linear_exact", "dummy", "complete", "live"))
def integrated_gradients(
    score: ModelScore,
    images: Tensor,
    *,
    n_steps: Annotated[int, Range(1, 10_000)] = 50,
    baseline: Baseline,
    quadrature: Quadrature = "gauss_legendre",
    batch: Batch = "auto",
) -> Tensor:
    """Each value's share of the score, integrated along a straight path from a baseline to the image.

    values = (x - x0) * integral over a in [0, 1] of d score / d (x0 + a (x - x0)), signed, (n, c, h, w). They sum to
    score(x) - score(x0) as far as the quadrature is exact (completeness): on smooth networks to many digits, but where ReLUs
    switch on the way the gradient jumps, and any rule is off by a share of the jumps. On EfficientNet-Lite0 and photographs
    50 points were off by 5 to 11 % of the difference, 200 points by 1 to 2 %; `notes` reports a gap of more than 1 %.

    Args:
        n_steps: points on the path; the paper: 20 to 300.
        quadrature: gauss_legendre (the most exact), middle, trapezoid, left, right.

    Example:
        >>> tp.integrated_gradients(model, images, baseline="black").values.sum()
    """
    points, weights = nodes(quadrature, n_steps)
    change = images - baseline

    def shown(row: int, path: Tensor) -> Tensor:
        return change[row] * path

    def point(row: int, k: int) -> Tensor:
        return baseline[row] + points[k] * change[row]

    path = weighted_gradient(score, len(images), point, weights, shown=shown, batch=batch)
    return _complete(score, images, baseline, change * path, batch)


GAP = 0.01
"""If the sum of the values misses the score's change by more than this share of it, a note is added."""


def _complete(score: ModelScore, images: Tensor, start: Tensor, values: Tensor, batch: Batch) -> Tensor:
    """Returns the values; adds a note if their sums differ from score(image) - score(start) by more than 1 %."""
    size = batch_size(score.model, batch)
    change = scores(score, images, batch=size) - scores(score, start, batch=size)
    gap = float(((values.sum((1, 2, 3)) - change).abs() / change.abs().clamp(min=1e-12)).max())
    if gap > GAP:
        note(f"the values sum to the score's change but for {'up to ' * (len(images) > 1)}{gap:.0%}: more n_steps come closer")
    return values


@attribution(cite="xu2020blurig", reduce="sum", laws=("class_sensitive", "dummy", "complete", "live"))
def blur_integrated_gradients(
    score: ModelScore,
    images: Tensor,
    *,
    n_steps: Annotated[int, Range(1, 10_000)] = 100,
    max_sigma_px: Annotated[float, Range(0.1, 10_000)] = 50,
    batch: Batch = "auto",
) -> Tensor:
    """Each value's share of the score, integrated while the image comes into focus out of a strong blur.

    values = - integral over s in [0, max_sigma_px] of d score / d x_s * d x_s / d s, with x_s the image blurred by a
    Gaussian of s px; signed, (n, c, h, w). No colour has to be chosen, and nothing appears that was not in the image.
    They sum to score(x) - score(x blurred by max_sigma_px) as far as the quadrature is exact (completeness).

    The blur is heat that spreads over the pixels and stays inside the image (exact in the cosine basis, mirrored borders);
    the authors' code lets the borders fade to zero, which draws a frame. Nodes are Gauss-Legendre in log(1 + s), since an
    image changes most under the first pixels of blur; the authors take equal steps of s and differences of 0.01 px for
    d x_s / d s.

    Args:
        n_steps: points on the path; the authors' code: 100.
        max_sigma_px: where the path begins; the authors' code: 50 px.

    Example:
        >>> tp.blur_integrated_gradients(model, images, n_steps=20).heatmap()
    """
    blur = _Blur(images)
    points, weights = nodes("gauss_legendre", n_steps)
    sigmas = [math.expm1(point * math.log1p(max_sigma_px)) for point in points]

    def along(row: int, k: int, grad: Tensor) -> Tensor:
        return -math.log1p(max_sigma_px) * (1 + sigmas[k]) * blur.speed(row, sigmas[k]) * grad

    def point(row: int, k: int) -> Tensor:
        return blur(row, sigmas[k])

    total = weighted_gradient(score, len(images), point, weights, along, shown=lambda _row, path: path, batch=batch)
    blurred = torch.stack([blur(row, max_sigma_px) for row in range(len(images))])
    return _complete(score, images, blurred, total, batch)


class _Blur:
    """Gaussian blurs of images with mirrored borders, and derivatives by sigma, computed in the cosine basis."""

    def __init__(self, images: Tensor) -> None:
        self.dtype = images.dtype
        self.down, self.across = (_cosines(side, images) for side in images.shape[-2:])
        self.spectrum = self.down @ images.to(self.down.dtype) @ self.across.T
        rows, columns = (math.pi * torch.arange(side).to(self.down) / side for side in images.shape[-2:])
        self.frequency2 = rows[:, None] ** 2 + columns**2

    def __call__(self, row: int, sigma_px: float) -> Tensor:
        return self._image(self.spectrum[row] * self._factor(sigma_px))

    def speed(self, row: int, sigma_px: float) -> Tensor:
        """Returns the derivative of a blurred image with respect to sigma, (c, h, w)."""
        return self._image(self.spectrum[row] * self._factor(sigma_px) * self.frequency2 * -sigma_px)

    def _factor(self, sigma_px: float) -> Tensor:
        return (-(sigma_px**2) / 2 * self.frequency2).exp()

    def _image(self, spectrum: Tensor) -> Tensor:
        return (self.down.T @ spectrum @ self.across).to(self.dtype)


def _cosines(side: int, like: Tensor) -> Tensor:
    """Returns the orthonormal cosine transform (DCT-II) as a matrix (side, side), at least in single precision."""
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    k, i = torch.arange(side, dtype=dtype)[:, None], torch.arange(side, dtype=dtype) + 0.5
    matrix = (math.pi / side * k * i).cos() * math.sqrt(2 / side)
    matrix[0] /= math.sqrt(2)
    return matrix.to(like.device)


@attribution(
    cite="kapishnikov2021guidedig", reduce="sum", laws=("class_sensitive", "linear_exact", "dummy", "complete", "live")
)
def guided_integrated_gradients(
    score: ModelScore,
    images: Tensor,
    *,
    n_steps: Annotated[int, Range(1, 10_000)] = 200,
    baseline: Baseline,
    fraction: Annotated[float, Range(0.01, 1)] = 0.25,
    max_distance: Annotated[float, Range(0, 1)] = 0.02,
    batch: Batch = "auto",
) -> Tensor:
    """Each value's share of the score along a path that changes the values first to which the score is least sensitive.

    The path leads from the baseline x0 to the image in n_steps of equal length (sum of absolute changes). In each step the
    `fraction` of the values with the smallest |d score / d x| move first, but no value is ever further than `max_distance`
    from the share of the way that the step has reached. So the path avoids places where the gradient is steep but says
    little, and the map is less noisy. values = integral along that path of d score / d x, signed, (n, c, h, w); they sum to
    score(x) - score(x0) up to the error of the steps (completeness).

    Each step takes the mean of the gradients at its two ends; the authors' code takes the one at its beginning, which costs
    the same and is less exact.

    Args:
        n_steps: steps of the path; the authors' code: 200.
        fraction: share of the values that move first; the paper: 0.25. 1: all move as one, the straight path.
        max_distance: from the straight path, as a share of the way; the authors' code: 0.02. 0: the straight path.

    Example:
        >>> tp.guided_integrated_gradients(model, images, n_steps=20, baseline="black").values.sum()
    """

    def step(row: int, k: int, here: Tensor, grad: Tensor) -> Tensor:
        return guided_step(here, grad, baseline[row], images[row], (k + 1) / n_steps, fraction, max_distance)

    return _complete(score, images, baseline, gathered(score, baseline, step, n_steps, batch=batch), batch)


def guided_step(here: Tensor, grad: Tensor, start: Tensor, end: Tensor, share: float, fraction: float, reach: float) -> Tensor:
    """Returns the next point (c, h, w) of the path from start to end, at `share` of the path's length.

    Each value stays between share - reach and share + reach of its way from start to end; within these limits, values with
    the smallest gradient move first.
    """
    least, most = (torch.lerp(start, end, min(max(share + by, 0), 1)) for by in (-reach, reach))
    way = (end - start).abs()
    here = torch.where((here - start).abs() < (least - start).abs(), least, here)
    left = (end - here).abs().sum() - (1 - share) * way.sum()  # distance that is left in this step
    steepness = grad.abs().masked_fill(here == most, math.inf)
    place = math.floor(fraction * (grad.numel() - 1)) + 1
    while left > 0 and bool((steepness < math.inf).any()):
        chosen = (steepness <= steepness.flatten().kthvalue(place).values) & (steepness < math.inf)
        room = ((most - here).abs() * chosen).sum()
        if room > left:
            return torch.where(chosen, torch.lerp(here, most, left / room), here)
        here, left = torch.where(chosen, most, here), left - room
        steepness = steepness.masked_fill(chosen, math.inf)
    return here
