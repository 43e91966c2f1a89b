"""Scores of an image with parts replaced, in batches: the common loop of all perturbation methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tapetum.engines.batching import in_chunks
from tapetum.engines.perturb.masks import Masks
from tapetum.progress import SoFar
from tapetum.types import Score


def mixed(image: Tensor, masks: Tensor, fill: Tensor) -> Tensor:
    """Returns masks * image + (1 - masks) * fill, (m, c, h, w), in the memory layout of the image."""
    masks = masks.to(image.dtype)
    both = torch.lerp(fill.expand(len(masks), -1, -1, -1), image.expand(len(masks), -1, -1, -1), masks)
    last = image.shape[1] > 1 and image.is_contiguous(memory_format=torch.channels_last)
    return both.contiguous(memory_format=torch.channels_last) if last else both


def scores(score: Score, images: Tensor, *, batch: int) -> Tensor:
    """Returns the scores (n,) of images, computed in batches without gradients."""

    def work(rows: Sequence[int]) -> Tensor:
        with torch.no_grad():
            return score.take(rows)(images[rows[0] : rows[-1] + 1])

    return torch.cat(list(in_chunks(range(len(images)), batch, work)))


def scores_under(
    score: Score,
    image: Tensor,
    masks: Masks,
    fill: Tensor,
    *,
    batch: int,
    row: int = 0,
    unit: str = "masks",
    so_far: SoFar | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields batches of masks (m, 1, h, w) with the scores (m,) of one image (1, c, h, w) under them.

    image, fill: what `score` takes: model-ready images, or activations if the score is a `Tail`.
    row: index of the image in the batch for which the score was made.
    unit: what the progress report counts.
    so_far: makes the image's map from what the caller has handled, for those who watch.
    """

    def work(positions: Sequence[int]) -> tuple[Tensor, Tensor]:
        some = masks.make(positions[0], positions[-1] + 1)
        with torch.no_grad():
            return some, score.take([row] * len(some))(mixed(image, some, fill))

    return in_chunks(range(masks.count), batch, work, unit, so_far, (row,))
