"""Metrics that replace the pixels of highest or lowest rank: pixel flipping, and ROAD, which imputes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from tapetum.border.methods import metric
from tapetum.border.sentences import Seed
from tapetum.data.preprocessing import size_of
from tapetum.engines.batching import batch_size
from tapetum.engines.perturb import descending, scores
from tapetum.engines.perturb.imputation import imputed
from tapetum.engines.scores import as_probability
from tapetum.families.metrics.curves import replaced_in_order
from tapetum.families.metrics.measuring import evaluated, fills, outcomes
from tapetum.models.vision_model import VisionModel
from tapetum.types import Attribution, Batch, Evaluation, MethodError, Range

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@metric(cite="samek2017evaluating")
def pixel_flipping(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    n_steps: Annotated[int, Range(1, 100_000)] = 32,
    fill: Tensor | float | str = "black",
    batch: Batch = "auto",
) -> Evaluation:
    """Mean fall of the target's probability while pixels are replaced, those that the map ranks highest first.

    value = mean over steps k = 1 .. K of p(x) - p(x_k) (the area over the perturbation curve, AOPC), in [-1, 1], high is good;
    p is what `deletion` measures, and the curve begins with p(x). Pixels of equal importance are replaced in a fixed random
    order. Quantus gives the curve without p(x), ranks each channel of a pixel by itself, and takes the least value of each
    image for black.

    Args:
        n_steps: equal steps from nothing to all pixels (Bach et al.: one pixel each).
        fill: replacement of pixels: black, zero, mean, white, blur, noise, a number, a tensor.

    Example:
        >>> tp.pixel_flipping(model, images, tp.grad_cam(model, images)).value
    """
    blank = fills(model, images, fill)
    score, curve, fraction = replaced_in_order(model, images, attribution, images, blank, n_steps, None, batch)
    limits = (-1.0, 1.0) if score.is_probability else (None, None)
    value = (curve[:, :1] - curve[:, 1:]).mean(1)
    return evaluated(
        "pixel_flipping", value, outcomes(attribution), "higher", limits, score=score, curve=curve, fraction=fraction
    )


@metric(cite="rong2022road", laws=("sampled",))
def road(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    shares: Sequence[float] = SHARES,
    noise: Annotated[float, Range(0, 100)] = 0.01,
    seed: Seed = 0,
    batch: Batch = "auto",
) -> Evaluation:
    """Difference between removing the pixels that matter least and those that matter most, where removed pixels are imputed.

    value = mean over shares of (p(x without the lowest share) - p(x without the highest)) / 2, in [-0.5, 0.5], high is good. A
    removed pixel becomes the weighted mean of its eight neighbours, removed ones among them (sides 1/6, corners 1/12: one
    linear system), plus noise: the shape of what was removed can hardly be read from the picture, unlike that of grey or black
    pixels. `parts` has both curves. The paper counts how many images of a data set keep their class; p of one image is finer.
    Quantus 0.6.0 gives such counts alone, for the highest first, of the images of its first batch; it counts values of channels
    as pixels, so that colour images end in an IndexError.

    Args:
        shares: shares of the pixels to remove, each above 0 and below 1 (the paper: 0.1 to 0.9).
        noise: standard deviation of the noise on removed values, in units of the model's input (Quantus: 0.01).

    Example:
        >>> tp.road(model, images, tp.grad_cam(model, images), shares=(0.2, 0.5)).value
    """
    _check(shares)
    score, maps = as_probability(model, images, attribution.explains), attribution.ranking(size_of(images))
    drawn = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(seed)).to(images) * noise
    size, found = batch_size(model, batch), list[Tensor]()
    for row, (image, importance) in enumerate(zip(images, maps, strict=True)):
        order = descending(importance)
        chosen = [end[:many] for end in (order, order.flip(0)) for many in _counts(shares, len(order))]
        made = torch.stack([_removed(image, one, drawn) for one in chosen])
        found.append(scores(score.take([row] * len(made)), model.laid_out(made), batch=size))
    most, least = torch.stack(found).unflatten(1, (2, len(shares))).unbind(1)
    return evaluated(
        "road",
        (least - most).mean(1) / 2,
        outcomes(attribution),
        "higher",
        (-0.5, 0.5) if score.is_probability else (None, None),
        score=score,
        curve=most,
        fraction=torch.tensor([*shares], dtype=most.dtype, device=most.device),
        parts={"highest_first": most, "lowest_first": least},
    )


def _check(shares: Sequence[float]) -> None:
    if not shares or not all(isinstance(one, (int, float)) and 0 < one < 1 for one in shares):
        raise MethodError(f"road: shares are numbers above 0 and below 1, such as (0.1, 0.5, 0.9), not {shares!r}")


def _counts(shares: Sequence[float], pixels: int) -> list[int]:
    """Returns how many pixels each share removes, rounded down, but never all of them."""
    return [min(pixels - 1, int(round(share * pixels, 6))) for share in shares]


def _removed(image: Tensor, chosen: Tensor, drawn: Tensor) -> Tensor:
    """Returns the image (c, h, w) with the chosen pixels, flat indices, imputed and noisy."""
    hidden = torch.zeros(image.shape[-2] * image.shape[-1], dtype=torch.bool, device=image.device)
    hidden[chosen] = True
    mask = hidden.view(image.shape[-2:])
    return torch.where(mask, imputed(image, mask) + drawn, image)
