"""Exact counts over a fixed lattice, drawn with fewer bins."""

from __future__ import annotations

import torch
from torch import Tensor

from tapetum.types.scans import Histogram


def condensed(lattice: Tensor, counts: Tensor, low: float, high: float, bins: int) -> Histogram:
    """Bins whose edges are the lattice's nearest to equal steps from `low` to `high`: every count is exact.

    lattice (e,) ascending, counts (e + 1). The first and the last edge enclose the extremes; where those lie beyond the
    lattice they are edges themselves.
    """
    start, stop = int(torch.searchsorted(lattice, low, right=True)), int(torch.searchsorted(lattice, high, right=True))
    inner = lattice[start:stop]  # the edges strictly inside (low, high]
    first = float(lattice[start - 1]) if start > 0 else low
    last = float(lattice[stop]) if stop < len(lattice) else high
    wanted = torch.linspace(first, last, max(2, bins + 1), dtype=lattice.dtype)[1:-1]
    if len(inner) and len(wanted):
        right = torch.searchsorted(inner, wanted).clamp(max=len(inner) - 1)
        left = (right - 1).clamp(min=0)
        nearer = torch.where((inner[right] - wanted).abs() < (inner[left] - wanted).abs(), right, left).unique()
    else:
        nearer = torch.zeros(0, dtype=torch.long)
    edges = torch.cat([lattice.new_tensor([first]), inner[nearer], lattice.new_tensor([last])])
    keep = torch.cat([torch.ones(1, dtype=torch.bool), edges.diff() > 0])
    edges = edges[keep] if int(keep.sum()) > 1 else lattice.new_tensor([first, max(last, first + 1e-6)])
    total = counts.cumsum(0)  # scores below lattice[i]: total[i]
    below = [0, *(int(total[int(torch.searchsorted(lattice, edge))]) for edge in edges[1:-1]), int(total[-1])]
    return Histogram(edges, torch.tensor(below).diff())
