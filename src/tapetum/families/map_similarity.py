"""How alike maps are: the same picture explained twice, and one picture's map beside those of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tapetum.engines.similarity import rank_correlation, ssim
from tapetum.types import Attribution


def magnitude(attribution: Attribution, size: Any = "input") -> Tensor:
    """Returns the magnitudes (n, h, w) of the heatmaps, each scaled to a maximum of 1; zeros where all are zero."""
    found = attribution.heatmap(size).abs().double()
    return found / found.flatten(1).amax(1).clamp(min=1e-300)[:, None, None]


def similarities(trained: Attribution, other: Attribution) -> Tensor:
    """Returns (2, n) rank correlations and SSIM of the magnitudes of two attributions of the same images, on the CPU.

    0 where the other map is blank or constant, NaN where the trained one is not `ok` or the other is not finite.
    """
    ranked = rank_correlation(magnitude(trained, None), magnitude(other, None)).nan_to_num(nan=0.0)
    both = torch.stack([ranked, ssim(magnitude(trained)[:, None], magnitude(other)[:, None])]).cpu()
    broken = [a != "ok" or b == "non_finite" for a, b in zip(trained.status, other.status, strict=True)]
    return both.masked_fill(torch.tensor(broken), torch.nan)


def likeness(attribution: Attribution) -> Tensor:
    """Returns the rank correlation (n,) of each map with the mean of the others, all scaled to a maximum of 1.

    NaN for maps that are not `ok`, which do not count for the mean either, and where there is no other map.
    """
    fine = torch.tensor([status == "ok" for status in attribution.status])
    found = torch.full((len(fine),), torch.nan, dtype=torch.float64)
    maps = magnitude(attribution, None)[fine]
    if len(maps) > 1:
        others = (maps.sum(0, keepdim=True) - maps) / (len(maps) - 1)
        found[fine] = rank_correlation(maps, others).cpu()
    return found


def other_classes(own: Sequence[int], k: int, seed: int) -> list[int]:
    """Draws for each target another of k classes, all with the same chance."""
    shifts = torch.randint(1, k, (len(own),), generator=torch.Generator().manual_seed(seed)).tolist()
    return [(target + shift) % k for target, shift in zip(own, shifts, strict=True)]
