"""Units of two layers matched by correlation, and groups of pictures that one network keeps together and the other does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tapetum.types.comparing import Network, SplitGroup, UnitMatches

MOST_UNITS = 2048
"""Units of a layer that are matched: those that vary most."""

MOST_PICTURES = 2000
"""Pictures among which groups are sought, the first ones: each pair is looked at."""

GROUPS = 3
"""Groups that are kept for each of the two networks."""


# --- units


def match_units(a: tuple[str, Tensor], b: tuple[str, Tensor], seed: int) -> UnitMatches:
    """Matches each unit with one of the other layer so that the sum of the correlations is the largest (Hungarian method)."""
    (layer, x), (other, y) = a, b
    x, kept_x = _varying(x)
    y, kept_y = _varying(y)
    rows, columns, found = _matched(x, y)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    chance = _matched(x, y[order])[2]
    pairs = torch.stack([kept_x[rows], kept_y[columns]], 1)
    best = found.argsort(descending=True, stable=True)
    level = float(chance.quantile(0.95)) if len(chance) else 0.0
    return UnitMatches(layer, other, pairs[best], found[best], level)


def _varying(features: Tensor) -> tuple[Tensor, Tensor]:
    """Returns standardised columns of features (n, p) and their numbers, without those that are constant."""
    spread = features.std(0, correction=0)
    kept = (spread > 0).nonzero().flatten()
    kept = kept[spread[kept].argsort(descending=True, stable=True)[:MOST_UNITS]].sort().values
    chosen = features[:, kept]
    return (chosen - chosen.mean(0)) / spread[kept], kept


def _matched(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    from scipy.optimize import linear_sum_assignment  # takes long to import

    correlation = x.T @ y / len(x)
    rows, columns = linear_sum_assignment(correlation.numpy(), maximize=True)
    rows, columns = torch.as_tensor(rows), torch.as_tensor(columns)
    return rows, columns, correlation[rows, columns].clamp(-1, 1)


# --- groups of pictures


@dataclass(frozen=True, eq=False)
class Group:
    rows: tuple[int, ...]
    near: float
    far: float

    @property
    def apart(self) -> float:
        return self.far - self.near


def places(features: Tensor) -> Tensor:
    """Returns for each pair of pictures (n, n) the share of pictures that are nearer, mean of both directions; 0: nearest.

    Near by the cosine of features (n, p) less their mean; the diagonal is 0.
    """
    centered = features[:MOST_PICTURES] - features[:MOST_PICTURES].mean(0)
    unit = centered / centered.norm(dim=1, keepdim=True).clamp(min=1e-12)
    distance = 1 - unit @ unit.T
    distance.fill_diagonal_(-1.0)
    share = distance.argsort(dim=1, stable=True).argsort(dim=1).double() / max(1, len(distance) - 1)
    return (share + share.T) / 2


def split_groups(keeper: Tensor, other: Tensor, most: int = GROUPS) -> list[Group]:
    """Finds groups that are near each other in `keeper` and far in `other`, both (n, n) as from `places`, the most split first.

    A group is a picture with its nearest ones in the keeper, a twentieth of all pictures (4 to 20): the one with the largest
    mean difference of places over its pairs, then the next that shares no picture with those before.
    """
    n = len(keeper)
    size = max(4, min(20, n // 20))
    if n < 2 * size:
        return []
    members = keeper.argsort(dim=1, stable=True)[:, :size]
    pairs = size * (size - 1)
    inside = [keeper[rows][:, rows].sum() / pairs for rows in members]
    outside = [other[rows][:, rows].sum() / pairs for rows in members]
    near, far = torch.stack(inside), torch.stack(outside)
    found: list[Group] = []
    for row in (far - near).argsort(descending=True, stable=True).tolist():
        rows = tuple(sorted(members[row].tolist()))
        if len(found) < most and not any(set(rows) & set(one.rows) for one in found):
            found.append(Group(rows, float(near[row]), float(far[row])))
    return found


def all_groups(a: Tensor, b: Tensor, names: Sequence[str], others: Sequence[Tensor] = ()) -> tuple[SplitGroup, ...]:
    """Returns the groups of both networks; p-values come from the best groups between a and each of the other seeds.

    p = (1 + number of other seeds that split a group as much) / (1 + number of other seeds).
    """
    found: list[SplitGroup] = []
    directions: tuple[tuple[Network, Tensor, Tensor], ...] = (("a", a, b), ("b", b, a))
    for keeper, own, other in directions:
        null = [_best(a, one) if keeper == "a" else _best(one, a) for one in others]
        for group in split_groups(own, other):
            p = (1 + sum(one >= group.apart for one in null)) / (1 + len(null)) if null else None
            found.append(SplitGroup(keeper, tuple(names[row] for row in group.rows), group.near, group.far, p))
    return tuple(sorted(found, key=lambda one: -one.apart))


def _best(keeper: Tensor, other: Tensor) -> float:
    return max((one.apart for one in split_groups(keeper, other, 1)), default=0.0)
