"""Dictionaries of parts: non-negative factors, and centres of clusters."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tapetum.families.compositions.directions import factorize
from tapetum.types import MethodError
from tapetum.types.dictionaries import Dictionary, empty

LLOYD = 100
"""Most steps of k-means; it ends when no row changes its cluster."""


def nmf(rows: Tensor, n: int, generator: Generator) -> Dictionary:
    """Non-negative factors: rows (m, c) >= 0 as sums of n non-negative directions with non-negative codes (lee2001nmf)."""
    seed = int(torch.randint(2**31, (), generator=generator))
    found = factorize(rows, n, seed=seed)
    return Dictionary("nonnegative", found.directions, rows.new_zeros(rows.shape[1]), empty(rows.shape[1]), rows.new_zeros(n))


def kmeans(rows: Tensor, n: int, generator: Generator) -> Dictionary:
    """Centres of n clusters: each row (m, c) is rebuilt as the nearest centre (lloyd1982, started as in arthur2007kmeanspp).

    A direction leads from the mean of all rows to a centre.
    """
    if n < 2:
        raise MethodError("one cluster is the mean of all rows, which has no direction: give n from 2 up")
    mean = rows.mean(0)
    x = rows - mean
    centres = _begin(x, n, generator)
    nearest = torch.full((len(x),), -1, device=x.device)
    for _ in range(LLOYD):
        distance = far_from(x, centres)
        new = distance.argmin(1)
        if torch.equal(new, nearest):
            break
        nearest, centres = new, _centres(x, new, centres, distance)
    sizes = centres.norm(dim=1)
    order = torch.bincount(nearest, minlength=n).argsort(descending=True, stable=True)
    directions = centres / sizes.clamp(min=torch.finfo(x.dtype).tiny)[:, None]
    return Dictionary("nearest", directions[order], mean, empty(rows.shape[1]), sizes[order])


def _begin(x: Tensor, n: int, generator: Generator) -> Tensor:
    """Returns n rows as first centres: each drawn with a chance that grows with the squared distance to those before it."""
    chosen = [int(torch.randint(len(x), (), generator=generator))]
    far = far_from(x, x[chosen])[:, 0]
    for _ in range(n - 1):
        chances = far.double().cpu() if bool(far.any()) else torch.ones(len(x), dtype=torch.float64)
        chosen.append(int(torch.multinomial(chances, 1, generator=generator)))
        far = torch.minimum(far, far_from(x, x[chosen[-1:]])[:, 0])
    return x[chosen].clone()


def far_from(x: Tensor, points: Tensor) -> Tensor:
    """Returns the squared distances (m, n) of rows and points."""
    return (x.square().sum(1)[:, None] - 2 * x @ points.T + points.square().sum(1)).clamp(min=0)


def _centres(x: Tensor, nearest: Tensor, before: Tensor, distance: Tensor) -> Tensor:
    """Returns the mean of each cluster; an empty cluster moves to the row that is farthest from its centre."""
    counts = torch.bincount(nearest, minlength=len(before))
    found = F.one_hot(nearest, len(before)).to(x).T @ x / counts.clamp(min=1)[:, None].to(x)
    far = distance.min(1).values.argsort(descending=True, stable=True)
    for place, cluster in enumerate((counts == 0).nonzero()[:, 0].tolist()):
        found[cluster] = x[far[place]]
    return found
