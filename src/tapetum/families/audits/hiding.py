"""Hides the places of pictures where a map says the evidence lies, and as large others, and tests the difference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.data.preprocessing import Size, size_of
from tapetum.engines.ranks import mean_interval
from tapetum.families.audits.cues import corners_of, frame_of, sides_of

GRID = 7
"""Side of the grid on which maps are compared."""

CELLS = 7
"""Number of the grid's 49 cells that are hidden in a test: a seventh of the picture."""

SIGNS, RESAMPLES = 2000, 500


def on_grid(maps: Tensor) -> Tensor:
    """Maps (n, h, w) averaged over the cells of the grid, (n, 7, 7)."""
    return F.adaptive_avg_pool2d(maps[:, None], GRID)[:, 0]


def cells(chosen: Tensor, size: Size) -> Tensor:
    """Masks (..., h, w) bool of cells chosen by their number, (..., m)."""
    shape = chosen.shape[:-1]
    grid = torch.zeros(*shape, GRID * GRID).scatter_(-1, chosen, 1.0).view(-1, 1, GRID, GRID)
    return F.interpolate(grid, size, mode="nearest").view(*shape, *size) > 0.5


def strongest(grid: Tensor) -> Tensor:
    """Numbers (..., 7) of the cells of grids (..., 7, 7) with the most evidence, the first ones first where equal."""
    return grid.flatten(-2).argsort(dim=-1, descending=True, stable=True)[..., :CELLS]


def weakest(grid: Tensor) -> Tensor:
    """Numbers (..., 7) of the cells of grids (..., 7, 7) with the least evidence."""
    return grid.flatten(-2).argsort(dim=-1, descending=True, stable=True)[..., -CELLS:]


def shares(maps: Tensor, objects: Tensor) -> Tensor:
    """Shares (n, 3) of maps (n, h, w) on the object, on the surroundings inside, and in the outer band; 0 for an empty map."""
    size = size_of(maps)
    band = (frame_of(size) | corners_of(size) | sides_of(size))[None] & ~objects
    parts = torch.stack([objects, ~objects & ~band, band], 1)
    sums = (maps[:, None] * parts).sum((2, 3)).double()
    return sums / sums.sum(1, keepdim=True).clamp(min=1e-12)


@dataclass(frozen=True)
class Difference:
    """Mean of differences over pictures, its interval of 95 % by resampling them, and the p-value by flipping their signs."""

    mean: float
    interval: tuple[float, float]
    p_value: float


def tested(differences: Tensor, generator: torch.Generator) -> Difference:
    """Tests whether differences (m,) have a mean above 0: as likely below it, if hiding either place does the same."""
    m, mean = len(differences), differences.mean()
    signs = torch.randint(2, (SIGNS, m), generator=generator).double() * 2 - 1
    p = (float(((signs @ differences) / m >= mean - 1e-12).sum()) + 1) / (SIGNS + 1)
    times = torch.randint(m, (RESAMPLES, m), generator=generator)
    return Difference(float(mean), mean_interval(differences, times), p)
