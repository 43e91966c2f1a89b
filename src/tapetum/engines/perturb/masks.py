"""Masks, in which 1 keeps a pixel and 0 replaces it; they are made on demand, never all at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.types import MethodError


@dataclass(frozen=True, eq=False)
class Masks:
    """A sequence of `count` masks; `make(start, stop)` creates the masks start to stop - 1 as (m, 1, h, w) in [0, 1]."""

    count: int
    make: Callable[[int, int], Tensor]


def windows(height: int, width: int, window: int, stride: int, like: Tensor) -> Masks:
    """Returns masks that each hide a square of `window` px, at every `stride` px, row by row; the border clips the last ones.

    As in captum, there are 1 + ceil((side - window) / stride) positions per side, so every pixel is hidden at least once.
    """
    if window > min(height, width):
        raise MethodError(f"a window of {window} px does not fit into an image of {height} x {width} px")
    if stride > window:
        raise MethodError(f"stride {stride} px is larger than the window of {window} px: pixels between would never be hidden")
    rows, columns = (1 + math.ceil((side - window) / stride) for side in (height, width))

    def make(start: int, stop: int) -> Tensor:
        masks = torch.ones(stop - start, 1, height, width, dtype=like.dtype, device=like.device)
        for mask, position in zip(masks, range(start, stop), strict=True):
            top, left = (position // columns) * stride, (position % columns) * stride
            mask[:, top : top + window, left : left + window] = 0
        return masks

    return Masks(rows * columns, make)


def random_grids(
    height: int, width: int, n_masks: int, cells: int, keep: float, generator: torch.Generator, like: Tensor
) -> Masks:
    """Returns masks of RISE: grids of `cells` x `cells` cells, each kept with probability `keep`, enlarged and shifted.

    A grid is upsampled bilinearly to (cells + 1) cells of ceil(side / cells) px and cropped at random, so it is shifted by up
    to a cell. Each mask takes one row of random numbers, so a long run begins with the masks of a short one.
    """
    drawn = torch.rand(n_masks, cells * cells + 2, generator=generator)
    grids = (drawn[:, 2:] < keep).to(like).view(n_masks, 1, cells, cells)
    cell_h, cell_w = math.ceil(height / cells), math.ceil(width / cells)
    tops, lefts = ((drawn[:, axis].double() * cell).long().tolist() for axis, cell in enumerate((cell_h, cell_w)))

    def make(start: int, stop: int) -> Tensor:
        size = ((cells + 1) * cell_h, (cells + 1) * cell_w)
        large = F.interpolate(grids[start:stop], size, mode="bilinear", align_corners=False)
        places = zip(large, tops[start:stop], lefts[start:stop], strict=True)
        return torch.stack([mask[:, top : top + height, left : left + width] for mask, top, left in places])

    return Masks(n_masks, make)


def staircase(order: Tensor, shape: tuple[int, int], n_steps: int) -> Masks:
    """Returns n_steps + 1 masks; mask k hides the first k / n_steps of the pixels in `order`, flat indices (h * w,)."""
    total = order.numel()

    def make(start: int, stop: int) -> Tensor:
        masks = torch.ones(stop - start, total, device=order.device)
        for mask, step in zip(masks, range(start, stop), strict=True):
            mask[order[: round(total * step / n_steps)]] = 0
        return masks.view(-1, 1, *shape)

    return Masks(n_steps + 1, make)
