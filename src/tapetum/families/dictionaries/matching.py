"""Pairs directions of two dictionaries, each with one partner, and says what chance would have paired."""

from __future__ import annotations

import torch
from torch import Tensor

from tapetum.types.dictionaries import Concepts, Dictionary, Recovery

DRAWS = 200
"""Random dictionaries behind a p-value: the least is 1 / 201."""


def matched(known: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    """Returns |cosine| (m,) of each known direction with its partner, and the partner's index; 0 and -1 without one.

    Partners are such that the sum of |cosine| is the largest (Hungarian method); each direction has at most one.
    """
    from scipy.optimize import linear_sum_assignment  # takes long to import

    known, found = (torch.nn.functional.normalize(one.double().cpu(), dim=1) for one in (known, found))
    cosine = (known @ found.T).abs().clamp(max=1)
    rows, columns = (torch.as_tensor(one) for one in linear_sum_assignment(cosine.numpy(), maximize=True))
    values, partner = cosine.new_zeros(len(known)), torch.full((len(known),), -1)
    values[rows], partner[rows] = cosine[rows, columns], columns
    return values, partner


def recovery(concepts: Concepts, known: Tensor, level: float, seed: int) -> Recovery:
    """Matches known directions (m, c) with the concepts of a result."""
    return recovered(concepts.dictionary, known, level, seed)


def recovered(dictionary: Dictionary, known: Tensor, level: float = 0.05, seed: int = 0) -> Recovery:
    """Matches known directions (m, c) with those of a dictionary, and with random ones of the same size and kind."""
    cosine, partner = matched(known, dictionary.directions)
    generator = torch.Generator().manual_seed(seed)
    chance = torch.stack([matched(known, _alike(dictionary, generator))[0] for _ in range(DRAWS)])
    p = ((chance >= cosine - 1e-9).sum(0) + 1) / (DRAWS + 1)
    return Recovery(cosine, partner, chance.quantile(1 - level, dim=0), p.double(), level)


def _alike(dictionary: Dictionary, generator: torch.Generator) -> Tensor:
    """Returns random directions: each channel in proportion to its size in the dictionary, without negative numbers for a
    dictionary that has none.
    """
    d = dictionary.directions
    drawn = torch.randn(d.shape, generator=generator, dtype=torch.float64) * d.square().mean(0).sqrt()
    return drawn if bool((d < 0).any()) else drawn.abs()
