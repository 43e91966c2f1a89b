"""Optimised masks: finds a small part of the image that alone is enough for the model's answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from tapetum.border.methods import attribution
from tapetum.engines.batching import batch_size, in_chunks
from tapetum.engines.scores import ModelScore
from tapetum.families.perturbations.smooth_masks import SmoothMask, blur_pyramid, extremal_mask
from tapetum.types import Batch, Range


@attribution(cite="fong2019extremal", reduce="sum", laws=("class_sensitive", "live"))
def extremal_perturbation(
    score: ModelScore,
    images: Tensor,
    *,
    area: Annotated[float, Range(0.001, 0.999)] = 0.1,
    variant: Literal["preserve", "delete", "dual"] = "preserve",
    n_steps: Annotated[int, Range(1, 100_000)] = 800,
    sigma_px: Annotated[float | None, Range(0.5, 1000)] = None,
    fill: Tensor | float | str | None = None,
    batch: Batch = "auto",
) -> Tensor:
    """The smooth part of the image, of a given area, that raises the score most when only it is seen.

    values (n, 1, h, w) = the mask m in [0, 1] (1: seen) after gradient ascent of score(x seen through m) - w_t mean
    (sort(m) - r)^2, with r of `area` ones and zeros before, w_t = 300 * 1.0035^t, rate 0.01, momentum 0.9, every other step
    on the mirrored image. m is a smooth maximum of bumps of sigma_px, one every sigma_px / 3. Where the paper's code counts
    the area of a frame around the image, `area` here is that of the image; and equal mask values share their place in the
    order, so that no corner is kept for being sorted last. A model without gradients is refused.

    Args:
        area: share of the image that the mask keeps; the paper: 0.05 to 0.8, one at a time.
        variant: preserve (what keeps the score up), delete (what brings it down when hidden), dual (both at once).
        n_steps: steps of ascent; the paper's code: 800.
        sigma_px: size of the bumps in px; None: 21 of 224, the paper's.
        fill: replacement of hidden pixels: None for the paper's, a blur that grows to 20 px (of 224) as the mask falls; or
            zero, mean, black, white, blur, noise, a number, a tensor.

    Example:
        >>> tp.extremal_perturbation(model, images, area=0.2, n_steps=20)
    """
    side, (height, width) = min(images.shape[-2:]), images.shape[-2:]
    sigma = sigma_px or max(0.5, side * 21 / 224)
    mask = SmoothMask(height, width, max(1, round(sigma / 3)), sigma, images)

    def work(rows: Sequence[int]) -> Tensor:
        some = images[rows[0] : rows[-1] + 1]
        blank = None if fill is None else torch.as_tensor(fill)[rows[0] : rows[-1] + 1]
        through = blur_pyramid(some, side * 20 / 224) if blank is None else lambda m: torch.lerp(blank, some, m)
        one = score.take(rows)

        def reward(masks: Tensor, step: int) -> Tensor:
            def seen(m: Tensor) -> Tensor:
                return one(through(m).flip(3) if step % 2 == 0 else through(m))

            if variant == "delete":
                return -seen(1 - masks)
            return seen(masks) if variant == "preserve" else seen(masks) - seen(1 - masks)

        return extremal_mask(reward, mask, rows, round(area * height * width), n_steps, images)

    return torch.cat(list(in_chunks(range(len(images)), batch_size(score.model, batch, gradients=True), work)))
