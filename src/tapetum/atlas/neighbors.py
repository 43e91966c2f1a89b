"""Units with similar scores: correlations over the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum import progress

NEIGHBORS = 8
"""Per unit: so many of its own layer, and so many of all others; as many again that answer the opposite way."""

BLOCK = 512
"""Units whose correlations with all others are in memory at once."""


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The units most like each unit, (u, 2k) each, the strongest correlation first; unit -1 where there are fewer."""

    unit: NDArray[np.int64]
    correlation: NDArray[np.float32]
    opposite: NDArray[np.int64]
    opposite_correlation: NDArray[np.float32]


def neighbors(tables: Sequence[NDArray[np.float32]], k: int = NEIGHBORS) -> Neighbors:
    """The k most correlated units of a unit's own layer and the k of the other layers, and the same for the opposite.

    r_ij = mean((s_i - mean s_i) (s_j - mean s_j)) / (sd_i sd_j) over the pictures; tables (n, c) hold the layers' scores.
    Correlations within 2 / sqrt(n - 1) of zero, two standard errors of unrelated units', are left out. A unit with the same
    score everywhere has no neighbours. Computed in blocks: memory is that of the tables, once more.
    """
    least = 2 / max(1, len(tables[0]) - 1) ** 0.5
    columns = torch.cat([_standard(table) for table in tables], 1)
    sizes = [table.shape[1] for table in tables]
    starts = np.cumsum([0, *sizes])
    found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    total = int(starts[-1])
    for start, size in zip(starts, sizes, strict=False):
        for low in range(int(start), int(start) + size, BLOCK):
            progress.report(low, total, "units")
            rows = slice(low, min(low + BLOCK, int(start) + size))
            alike = columns[:, rows].T @ columns
            found.append(_strongest(alike, rows, slice(int(start), int(start) + size), k, least))
    progress.report(total, total, "units")
    unit, r, opposite, s = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return Neighbors(unit, r, opposite, s)


def _standard(table: NDArray[np.float32]) -> Tensor:
    """Columns with mean zero and length one; zeros for a constant one."""
    exact = torch.from_numpy(table).double()
    centered = exact - exact.mean(0)
    length = centered.norm(dim=0)
    small = length <= 1e-9 * exact.norm(dim=0)  # nothing but rounding
    return (centered / length.masked_fill(small, torch.inf)).float()


def _strongest(alike: Tensor, rows: slice, own: slice, k: int, least: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Most similar and most opposite units with their correlations, from the correlations (b, u) of a block of units."""
    numbers = torch.arange(rows.start, rows.stop)
    alike[numbers - rows.start, numbers] = 0  # not itself
    return *_both(alike, own, k, 1, least), *_both(alike, own, k, -1, least)


def _both(alike: Tensor, own: slice, k: int, sign: int, least: float) -> tuple[Tensor, Tensor]:
    """(b, 2k): of the own layer and of the others together, strongest first."""
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
