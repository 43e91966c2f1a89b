"""Attributions from random smooth masks over the whole image: how the score depends on each place."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from tapetum.border.methods import attribution
from tapetum.border.sentences import Fill, Tolerance
from tapetum.engines.batching import batch_size
from tapetum.engines.perturb import random_grids, scores_under
from tapetum.engines.scores import ModelScore
from tapetum.engines.statistics import RunningMean, stacked
from tapetum.progress import report
from tapetum.types import Batch, Range


@attribution(
    cite="petsiuk2018rise", reduce="sum", scale="probability", laws=("class_sensitive", "forward_only", "sampled", "live")
)
def rise(
    score: ModelScore,
    images: Tensor,
    *,
    n_masks: Annotated[int, Range(2, 1_000_000)] = 4000,
    cells: Annotated[int, Range(1, 1000)] = 7,
    keep: Annotated[float, Range(0.01, 0.99)] = 0.5,
    fill: Fill,
    tolerance: Tolerance = None,
    generator: torch.Generator,
    batch: Batch = "auto",
) -> tuple[Tensor, Tensor]:
    """Rise of the probability when a place is seen, averaged over random smooth masks.

    values (n, 1, h, w) = 1 / n_masks sum over m of p(x * M_m) (M_m / keep - 1), with p the target's probability (softmax):
    an estimate of the probability given that a pixel is seen, minus the mean probability. The paper's map lacks the last
    term; with it, 0 means that seeing the place makes no difference. `stderr` is the standard error of the estimate. All
    images of a batch are seen through the same masks.

    Args:
        n_masks: random masks; the paper: 4000 for VGG-16, 8000 for ResNet-50.
        cells: cells per side of the random grid; the paper: 7.
        keep: probability that a cell is seen; the paper: 0.5.

    Example:
        >>> tp.rise(model, images, n_masks=1000, seed=1).stderr.mean()
    """
    height, width = images.shape[-2:]
    masks = random_grids(height, width, n_masks, cells, keep, generator, images)
    size = batch_size(score.model, batch)
    seen, blank = score.model.laid_out(images), score.model.laid_out(fill)

    def mean(row: int) -> tuple[Tensor, Tensor]:
        running = RunningMean()

        def so_far() -> Tensor:
            return running.value[None]

        one_row = slice(row, row + 1)
        for mask, left in scores_under(score, seen[one_row], masks, blank[one_row], batch=size, row=row, so_far=so_far):
            for one, value in zip(mask, left, strict=True):
                running.add(value * (one / keep - 1))
                if running.settled(tolerance):
                    report(n_masks, n_masks, "masks", None, so_far, (row,))
                    return running.estimate
        return running.estimate

    return stacked(mean(row) for row in range(len(images)))
