"""Grids of square cells over an image: means of maps in cells, and masks that keep some of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tapetum.engines.perturb.masks import Masks


@dataclass(frozen=True, eq=False)
class Cells:
    """A grid over images of h x w pixels: each row and column of pixels belongs to one row and column of cells.

    down, across: index of the cells' row (h,) and column (w,) of each pixel.
    """

    down: Tensor
    across: Tensor

    @classmethod
    def over(cls, height: int, width: int, cells: int, shift: tuple[float, float] = (0.0, 0.0)) -> Cells:
        """Returns a grid with `cells` cells per side, at most one per pixel, moved up and left by `shift`, in cells.

        A moved grid has one more row or column, of which the first and the last are cut by the border.
        """
        return cls(_lines(height, cells, shift[0]), _lines(width, cells, shift[1]))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns of cells."""
        return int(self.down[-1]) + 1, int(self.across[-1]) + 1

    @property
    def count(self) -> int:
        return self.shape[0] * self.shape[1]

    def means(self, maps: Tensor) -> Tensor:
        """Returns the mean of maps (m, h, w) in each cell, (m, rows * columns), in float64."""
        rows, columns = (
            torch.nn.functional.one_hot(line, n).to(maps.device, torch.float64)
            for line, n in zip((self.down, self.across), self.shape, strict=True)
        )
        sums = torch.einsum("mhw,hr,wc->mrc", maps.double(), rows, columns)
        return (sums / torch.outer(rows.sum(0), columns.sum(0))).flatten(1)

    def masks(self, kept: Tensor) -> Masks:
        """Returns the masks of `kept` (m, rows * columns) bool: 1 in the pixels of kept cells."""
        grid = kept.view(-1, *self.shape).float()

        def make(start: int, stop: int) -> Tensor:
            some = grid[start:stop]
            return some[:, self.down.to(some.device)][:, :, self.across.to(some.device)][:, None]

        return Masks(len(grid), make)


def _lines(side: int, cells: int, shift: float) -> Tensor:
    """Returns the index (side,) of the cell of each pixel in a row of pixels."""
    n = min(cells, side)
    return ((torch.arange(side) + 0.5) * n / side + shift).long()


def descending(importance: Tensor) -> Tensor:
    """Returns flat indices, most important first; equally important ones in a fixed random order, not by position."""
    generator = torch.Generator().manual_seed(0)
    shuffled = torch.randperm(importance.numel(), generator=generator).to(importance.device)
    return shuffled[importance.flatten()[shuffled].argsort(descending=True, stable=True)]
