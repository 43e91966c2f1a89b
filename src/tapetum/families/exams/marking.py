"""Marks of one map against the truth of a network that was set by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from tapetum.families.exams.networks import CELLS, SIDE, ExamNetwork, by_place
from tapetum.types import Attribution
from tapetum.types.attributions import Reduce

CLEAR = 0.05
"""Least margin by which a place must stand above another to be told apart, as a share of the map's largest place."""

ROUNDING = 1e-12
"""Largest value that rounding may leave where a map of these networks, whose logits are about 1 in double precision, is 0."""

DRAWS = 99
"""Random maps that the mass on the truth is compared with."""


def claimed(network: ExamNetwork, reduce: Reduce) -> Tensor:
    """Returns the sign (n, 4, 4) that a map of this kind should have at each place: a map of magnitudes has no signs."""
    truth = network.places
    return (truth.abs() if reduce == "max_abs" else truth.clamp(min=0) if reduce == "positive" else truth).sign()


def margins(network: ExamNetwork, attribution: Attribution) -> Tensor:
    """Returns by how much the places that count stand above the others, (n,), as a share of the map's largest place.

    The least difference between a place that speaks for the answer and any other, and between any other and a place that
    speaks against; 0 for a map without a value.
    """
    maps = by_place(_heatmap(attribution)).flatten(1)
    largest = maps.abs().amax(1)
    return torch.stack(
        [
            _least_gap(row, sign) / top if top > 0 else top
            for row, sign, top in zip(maps, claimed(network, attribution.reduce).flatten(1), largest, strict=True)
        ]
    )


def _heatmap(attribution: Attribution) -> Tensor:
    """Returns the heatmap (n, h, w) in double precision; NaN, and what rounding leaves, are 0, or luck would decide."""
    heatmap = attribution.heatmap().double().nan_to_num()
    return heatmap.masked_fill(heatmap.abs() <= ROUNDING, 0)


def _least_gap(values: Tensor, sign: Tensor) -> Tensor:
    gaps = [values[sign >= level].min() - values[sign < level].max() for level in (0, 1) if (sign < level).any()]
    return torch.stack(gaps).min()


def mass(network: ExamNetwork, attribution: Attribution) -> Tensor:
    """Returns the share (n,) of the map's magnitude that lies on the places that count, with the right sign; 0 for none."""
    heatmap = _heatmap(attribution)
    sign = claimed(network, attribution.reduce).repeat_interleave(SIDE, 1).repeat_interleave(SIDE, 2)
    whole = heatmap.abs().sum((1, 2))
    return ((heatmap * sign).clamp(min=0) * sign.abs()).sum((1, 2)) / whole.clamp(min=torch.finfo(torch.float64).tiny)


def chance(network: ExamNetwork, seed: int) -> Tensor:
    """Returns the largest mass that one of 99 random maps has on the truth, mean over pictures."""
    generator = torch.Generator().manual_seed(seed)
    n = len(network.images)
    noise = torch.rand(DRAWS, n, 1, CELLS, CELLS, generator=generator, dtype=torch.float64)
    return torch.stack([mass(network, network.as_map(one)).mean() for one in noise]).max()
