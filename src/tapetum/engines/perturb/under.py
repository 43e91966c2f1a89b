"""Streams (masks, scores) for every perturbation method: estimators only read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from tapetum.engines.batching import in_chunks
from tapetum.engines.perturb.masks import Masks
from tapetum.progress import track
from tapetum.types import Score


def mixed(image: Tensor, masks: Tensor, fill: Tensor) -> Tensor:
    """Mixes masks * image + (1 - masks) * fill, (m, c, h, w), in the image's memory layout."""
    masks = masks.to(image.dtype)
    both = torch.lerp(fill.expand(len(masks), -1, -1, -1), image.expand(len(masks), -1, -1, -1), masks)
    last = image.shape[1] > 1 and image.is_contiguous(memory_format=torch.channels_last)
    return both.contiguous(memory_format=torch.channels_last) if last else both


def scores(score: Score, images: Tensor, *, batch: int) -> Tensor:
    """Scores (n,) of images, in batches, without gradients."""

    def work(rows: Sequence[int]) -> Tensor:
        with torch.no_grad():
            return score.take(rows)(images[rows[0] : rows[-1] + 1])

    return torch.cat(list(in_chunks(range(len(images)), batch, work)))


def scores_under(
    score: Score, image: Tensor, masks: Masks, fill: Tensor, *, batch: int, row: int = 0, unit: str = "masks"
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields (masks (m, 1, h, w), scores (m,)) of one image (1, c, h, w), in batches.

    image and fill are what `score` takes: model-ready images, or activations for a resumed tail. `row` is the
    image's index in the batch for which the score was made.
    """

    def work(positions: Sequence[int]) -> tuple[Tensor, Tensor]:
        some = masks.make(positions[0], positions[-1] + 1)
        with torch.no_grad():
            return some, score.take([row] * len(some))(mixed(image, some, fill))

    chunks = in_chunks(range(masks.count), batch, work)
    yield from track(chunks, masks.count, unit, size=lambda part: len(part[1]))
