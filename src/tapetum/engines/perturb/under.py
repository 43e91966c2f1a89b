"""The stream of (masks, scores) behind every perturbation method: estimators only read it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tapetum.engines.batching import in_chunks
from tapetum.engines.perturb.masks import Masks
from tapetum.progress import track
from tapetum.types import Score


def mixed(image: Tensor, masks: Tensor, fill: Tensor) -> Tensor:
    """masks * image + (1 - masks) * fill, (m, c, h, w)."""
    return torch.lerp(fill.expand(len(masks), -1, -1, -1), image.expand(len(masks), -1, -1, -1), masks)


def scores_under(
    score: Score, image: Tensor, masks: Masks, fill: Tensor, *, batch: int, row: int = 0, unit: str = "masks"
) -> Iterator[tuple[Tensor, Tensor]]:
    """(masks (m, 1, h, w), scores (m,)) for one image (1, c, h, w), in batches.

    image and fill are whatever `score` takes: model-ready images, or activations for a resumed tail. `row` is the
    image's place in the batch that the score was made for.
    """

    def work(positions: range) -> tuple[Tensor, Tensor]:
        some = masks.make(positions[0], positions[-1] + 1)
        with torch.no_grad():
            return some, score.take([row] * len(some))(mixed(image, some, fill))

    chunks = in_chunks(range(masks.count), batch, work)
    yield from track(chunks, masks.count, unit, size=lambda part: len(part[1]))
