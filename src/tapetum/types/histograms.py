"""Histograms with exact counts: over a fine lattice of fixed edges, shown with fewer bins."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tapetum.types.checks import checked_channel, listed
from tapetum.types.results import Result


@dataclass(frozen=True, eq=False)
class Histogram(Result):
    """Histogram of one unit's scores: counts (m) between `edges` (m + 1), and densities, whose integral is one."""

    edges: Tensor
    counts: Tensor

    @property
    def density(self) -> Tensor:
        """Density in each bin, (m,): count / (n * width of the bin)."""
        return self.counts / (self.counts.sum().clamp(min=1) * self.edges.diff())


@dataclass(frozen=True, eq=False)
class HistogramResult(Result):
    """Counts of every unit's scores between edges that are fixed beforehand, so that parts of a scan add up exactly.

    lattice (e,) ascending edges; counts (c, e + 1): scores below the first edge, between neighbours, from the last edge on
    low, high (c,) the smallest and the largest score
    """

    layer: str
    lattice: Tensor
    counts: Tensor
    low: Tensor
    high: Tensor
    n: int

    def histogram(self, channel: int, bins: int = 32) -> Histogram:
        """Returns at most `bins` bins between the unit's extremes; edges are those of the lattice, so counts are exact."""
        row = checked_channel(channel, len(self.counts), self.layer)
        return condensed(self.lattice, self.counts[row], float(self.low[row]), float(self.high[row]), bins)


def condensed(lattice: Tensor, counts: Tensor, low: float, high: float, bins: int) -> Histogram:
    """Merges the lattice's bins to at most `bins` nearly equal ones from `low` to `high`; every count is exact.

    lattice (e,) ascending, counts (e + 1). The first and the last edge enclose `low` and `high`; where these lie beyond the
    lattice, they are edges themselves.
    """
    start, stop = int(torch.searchsorted(lattice, low, right=True)), int(torch.searchsorted(lattice, high, right=True))
    inner = lattice[start:stop]  # the edges strictly inside (low, high]
    first = float(lattice[start - 1]) if start > 0 else low
    last = float(lattice[stop]) if stop < len(lattice) else high
    wanted = torch.linspace(first, last, max(2, bins + 1), dtype=lattice.dtype)[1:-1]
    if len(inner) and len(wanted):
        right = torch.searchsorted(inner, wanted).clamp(max=len(inner) - 1)
        left = (right - 1).clamp(min=0)
        nearest = torch.where((inner[right] - wanted).abs() < (inner[left] - wanted).abs(), right, left)
        inner = inner[sorted(set(listed(nearest)))]
    else:
        inner = inner[:0]
    edges = torch.cat([lattice.new_tensor([first]), inner, lattice.new_tensor([last])])
    keep = torch.cat([torch.ones(1, dtype=torch.bool), edges.diff() > 0])
    edges = edges[keep] if int(keep.sum()) > 1 else lattice.new_tensor([first, max(last, first + 1e-6)])
    total = counts.cumsum(0)  # total[i] is the number of scores below lattice[i]
    below = [0, *(int(total[int(torch.searchsorted(lattice, edge))]) for edge in edges[1:-1]), int(total[-1])]
    return Histogram(edges, torch.tensor(below).diff())
