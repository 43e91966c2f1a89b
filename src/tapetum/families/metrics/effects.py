"""Effects of hidden sets of places: what a map gives to them, and how far the score falls without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tapetum.data.preprocessing import size_of
from tapetum.engines.batching import batch_size
from tapetum.engines.perturb import coalitions, scores_under
from tapetum.engines.perturb.superpixels import cells as grid_of_cells
from tapetum.engines.scores import ModelScore
from tapetum.types import Attribution, Batch


class Effects(NamedTuple):
    """What sets of places have by the map and by the model, all in double precision.

    attributed  (n, m) sum of the map over each set
    drop        (n, m) fall of the score without it
    whole       (n,) score of the unchanged image
    """

    attributed: Tensor
    drop: Tensor
    whole: Tensor


def ranking(images: Tensor, attribution: Attribution) -> Tensor:
    """Returns the map (n, h, w) at the size of the images: signed, its channels summed, or their largest magnitude."""
    return attribution.ranking(size_of(images))


def hidden_effects(
    score: ModelScore, images: Tensor, importance: Tensor, labels: Tensor, hidden: Tensor, replaced: Tensor, batch: Batch
) -> Effects:
    """Measures sets of places, hidden one set at a time; the passes of an image do not depend on the other images.

    importance: map (n, h, w); labels (h, w): place 0 .. k - 1 of each pixel; hidden (m, k): 1 where a set has the place;
    replaced (n, c, h, w): what hidden pixels become.
    """
    labels, hidden = labels.to(images.device), hidden.to(images.device)
    present = torch.cat([hidden.new_ones(1, hidden.shape[1]), 1 - hidden])  # the first mask hides nothing
    seen, blank, size = score.model.laid_out(images), score.model.laid_out(replaced), batch_size(score.model, batch)
    attributed, values = list[Tensor](), list[Tensor]()
    for row in range(len(images)):
        image, fill, masks = seen[row : row + 1], blank[row : row + 1], coalitions(labels, present)
        stream = scores_under(score, image, masks, fill, batch=size, row=row, unit="hidden parts")
        values.append(torch.cat([found.double() for _, found in stream]).cpu())
        sums = torch.zeros(hidden.shape[1], dtype=torch.float64, device=labels.device)
        sums.index_add_(0, labels.flatten(), importance[row].flatten().double())
        attributed.append((hidden.double() @ sums).cpu())
    scores = torch.stack(values)
    return Effects(torch.stack(attributed), scores[:, :1] - scores[:, 1:], scores[:, 0])


def places(images: Tensor, cells: int | None) -> Tensor:
    """Returns labels (h, w) of the squares of a grid with that many per side; of single pixels for None."""
    height, width = size_of(images)
    return torch.arange(height * width).view(height, width) if cells is None else grid_of_cells(height, width, cells * cells)


def count(labels: Tensor) -> int:
    return int(labels.max()) + 1


def random_sets(many: int, sizes: Sequence[int], seed: int) -> Tensor:
    """Returns sets (m, many) of 0 and 1, of the given sizes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.zeros(many).index_fill(0, torch.randperm(many, generator=generator)[:size], 1) for size in sizes])


def random_squares(shape: tuple[int, int], side_px: int, n: int, seed: int) -> Tensor:
    """Returns squares (n, h w) of 1 in 0, anywhere inside the image."""
    generator = torch.Generator().manual_seed(seed)
    height, width = shape
    tops, lefts = (torch.randint(side - side_px + 1, (n,), generator=generator).tolist() for side in shape)
    squares = torch.zeros(n, height, width)
    for square, top, left in zip(squares, tops, lefts, strict=True):
        square[top : top + side_px, left : left + side_px] = 1
    return squares.flatten(1)


def unmoved(drop: Tensor, whole: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns whether the falls (..., m) of scores differ by no more than rounding in that precision."""
    return drop.amax(-1) - drop.amin(-1) <= 8 * torch.finfo(dtype).eps * torch.maximum(whole.abs(), drop.abs().amax(-1))
