"""Attributions of whole regions: integrated gradients averaged over segments of the picture."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.methods import attribution
from tapetum.engines.gradients import weighted_gradient
from tapetum.engines.perturb import as_fill
from tapetum.engines.perturb.superpixels import felzenszwalb
from tapetum.engines.scores import ModelScore
from tapetum.families.gradients.quadrature import nodes
from tapetum.types import Batch, Range

SCALES = (50.0, 100.0, 150.0, 250.0, 500.0, 1200.0)
"""Scales of the segmentations, from small regions to large ones, as in the authors' code."""


@attribution(cite="kapishnikov2019xrai", reduce="sum", laws=("class_sensitive",))
def xrai(
    score: ModelScore,
    images: Tensor,
    *,
    n_steps: Annotated[int, Range(1, 10_000)] = 100,
    min_size_px: Annotated[int, Range(1, 100_000)] = 150,
    min_new_px: Annotated[int, Range(1, 100_000)] = 50,
    dilation_px: Annotated[int, Range(0, 100)] = 5,
    batch: Batch = "auto",
) -> Tensor:
    """The regions of the picture that hold most of the score for their size, ranked one after the other.

    Integrated gradients from black and from white are averaged, summed over channels: A. The picture is cut by graph-based
    segmentation (`felzenszwalb2004graph`, sigma 0.8) at six scales, each segment grown by a disk. Step by step, the region
    with the largest mean of A over its pixels that are not yet covered is added, and these pixels get that mean. The pixels
    that are left at the end get the mean of A over them. values (n, 1, h, w), signed, in units of the score; they sum to what
    A sums to, the score(x) - score(baseline) averaged over the two baselines.

    The authors' code takes the largest of the three channels for A, which turns evidence against into evidence for; with the
    sum the values stay a share of the score. It cuts the picture at 224 x 224 px, here at the images' own size. This is its
    "full" mode; the "fast" mode, which ranks the segments of each scale once, is not here.

    Args:
        n_steps: points on each path (Gauss-Legendre); the authors' code: 100.
        min_size_px: area of the smallest segment in px; the authors' code: 150.
        min_new_px: a region that would cover fewer new px is left out; the authors' code: 50.
        dilation_px: radius of the disk by which segments grow; the authors' code: 5.

    Example:
        >>> tp.xrai(model, images, n_steps=10).values.shape
        torch.Size([1, 1, 224, 224])
    """
    points, weights = nodes("gauss_legendre", n_steps)
    total = torch.zeros_like(images)
    for colour in ("black", "white"):
        way = images - as_fill(score.model, images, colour)
        path = weighted_gradient(
            score, len(images), lambda i, k, way=way: images[i] - (1 - points[k]) * way[i], weights, batch=batch
        )
        total += way * path / 2
    pixels = score.model.denormalize(images)
    return torch.stack([
        _ranked(one.sum(0), _regions(picture, min_size_px, dilation_px), min_new_px)[None]
        for one, picture in zip(total, pixels, strict=True)
    ])  # fmt: skip


def _regions(pixels: Tensor, min_size_px: int, dilation_px: int) -> Tensor:
    """Returns the segments of all scales, each grown by `dilation_px`, as masks (m, h, w) bool."""
    # the authors segment pictures in [-1, 1], with differences twice as large
    cuts = [felzenszwalb(2 * pixels - 1, scale, sigma=0.8, min_size=min_size_px) for scale in SCALES]
    return torch.cat(
        [_grown(labels == torch.arange(int(labels.max()) + 1).to(labels)[:, None, None], dilation_px) for labels in cuts]
    )


def _grown(masks: Tensor, radius_px: int) -> Tensor:
    """Grows boolean masks (m, h, w) by all pixels at most `radius_px` away."""
    reach = torch.arange(-radius_px, radius_px + 1, device=masks.device)
    disk = (reach[:, None] ** 2 + reach**2 <= radius_px**2).float()[None, None]
    return torch.cat([F.conv2d(some[:, None].float(), disk, padding=radius_px)[:, 0] > 0.5 for some in masks.split(64)])


def _ranked(amounts: Tensor, regions: Tensor, min_new_px: int) -> Tensor:
    """Returns a map (h, w): regions are added greedily by their mean over uncovered pixels, and these get that mean."""
    flat, masks = amounts.flatten(), regions.flatten(1)
    left = torch.ones_like(flat, dtype=torch.bool)
    values = torch.empty_like(flat)
    sums, counts = (masks * flat).sum(1), masks.sum(1)
    while bool((counts >= min_new_px).any()):
        best = int(torch.where(counts >= min_new_px, sums / counts, -torch.inf).argmax())
        new = masks[best] & left
        values[new] = flat[new].mean()
        left &= ~new
        gone = masks[:, new]
        sums, counts = sums - (gone * flat[new]).sum(1), counts - gone.sum(1)
    values[left] = flat[left].mean()
    return values.view_as(amounts)
