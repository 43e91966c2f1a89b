"""Finds units with similar scores, by their correlations over the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum import progress

NEIGHBORS = 8
"""Neighbours per unit in its own layer, and as many in all other layers together; the same for opposite units."""

BLOCK = 512
"""Number of units whose correlations with all others are in memory at once."""


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Most similar and most opposite units of each unit, (u, 2k), the strongest correlation first; -1 where there are fewer."""

    unit: NDArray[np.int64]
    correlation: NDArray[np.float32]
    opposite: NDArray[np.int64]
    opposite_correlation: NDArray[np.float32]


def neighbors(tables: Sequence[NDArray[np.float32]], k: int = NEIGHBORS) -> Neighbors:
    """Returns for each unit the k most correlated units of its own layer and k of other layers, and as many opposite ones.

    r_ij = mean((s_i - mean s_i) (s_j - mean s_j)) / (sd_i sd_j) over the pictures; tables (n, c) hold the layers' scores.
    Correlations within 2 / sqrt(n - 1) of zero, two standard errors for unrelated units, are left out. A unit with the same
    score everywhere has no neighbours. The computation takes as much memory again as the tables.
    """
    least = 2 / max(1, len(tables[0]) - 1) ** 0.5
    columns = torch.cat([_standard(table) for table in tables], 1)
    sizes = [table.shape[1] for table in tables]
    found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    start, total = 0, sum(sizes)
    for size in sizes:
        own = slice(start, start + size)
        for low in range(start, own.stop, BLOCK):
            progress.report(low, total, "units")
            rows = slice(low, min(low + BLOCK, own.stop))
            alike = columns[:, rows].T @ columns
            alike[:, rows].fill_diagonal_(0)  # not itself
            found.append((*_strongest(alike, own, k, 1, least), *_strongest(alike, own, k, -1, least)))
        start = own.stop
    progress.report(total, total, "units")
    unit, r, opposite, s = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return Neighbors(unit, r, opposite, s)


def _standard(table: NDArray[np.float32]) -> Tensor:
    """Returns a table with each column scaled to mean zero and length one; constant columns become zeros."""
    exact = torch.from_numpy(table).double()
    centered = exact - exact.mean(0)
    length = centered.norm(dim=0)
    small = length <= 1e-9 * exact.norm(dim=0)  # nothing but rounding
    return (centered / length.masked_fill(small, torch.inf)).float()


def _strongest(alike: Tensor, own: slice, k: int, sign: int, least: float) -> tuple[Tensor, Tensor]:
    """Returns units and correlations (b, 2k): k of the own layer, k of others, strongest first; for sign -1 opposite units.

    alike  correlations (b, u) of a block of units with all units
    own    indices of the units of the block's own layer
    least  correlations up to this size are left out (unit -1)
    """
    inside = (sign * alike[:, own]).topk(min(k, own.stop - own.start))
    others = sign * alike
    others[:, own] = 0
    outside = others.topk(min(k, others.shape[1]))
    value = torch.cat([inside.values, outside.values], 1)
    index = torch.cat([inside.indices + own.start, outside.indices], 1)
    value, order = value.sort(dim=1, descending=True, stable=True)
    index = index.gather(1, order).masked_fill(value <= least, -1)
    missing = 2 * k - value.shape[1]
    if missing > 0:
        value = torch.cat([value, value.new_zeros(len(value), missing)], 1)
        index = torch.cat([index, index.new_full((len(index), missing), -1)], 1)
    return index, (sign * value).clamp(-1, 1)
