"""Keeps the k highest-ranked pictures of a stream: the same pictures in any order of arrival.

A score and its sample form one integer key: the upper bits order like the score, the lower bits put smaller samples first.
No two pictures of a unit have the same key, so the k largest keys do not depend on how the pictures were divided.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tapetum.types import Ranking

NOTHING = torch.iinfo(torch.int64).min
"""Key that stands for no picture."""

SAMPLES = 1 << 32
"""Upper bound of sample numbers."""


def keys(score: Tensor, sample: Tensor) -> Tensor:
    """Returns keys (c, n) int64 of scores (c, n) and samples (n,): larger for higher scores, then for smaller samples."""
    bits = (score.float() + 0.0).contiguous().view(torch.int32)  # + 0.0: minus zero becomes zero
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # negative floats count downwards
    return ordered.long() * SAMPLES + (SAMPLES - 1 - sample)


def split(key: Tensor) -> tuple[Tensor, Tensor]:
    """Turns keys back into (score, sample); NaN and -1 where there is no picture."""
    ordered = torch.div(key, SAMPLES, rounding_mode="floor").to(torch.int32)
    score = (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(torch.float32)
    sample = SAMPLES - 1 - torch.remainder(key, SAMPLES)
    empty = key == NOTHING
    return score.masked_fill(empty, float("nan")), sample.masked_fill(empty, -1)


def first(k: int, key: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the k largest keys of each row (c, m), largest first, and their places; padded with `NOTHING` and 0."""
    missing = k - key.shape[1]
    if missing > 0:
        key = torch.cat([key, key.new_full((len(key), missing), NOTHING)], 1)
        place = torch.cat([place, place.new_zeros(len(place), missing)], 1)
    top, index = key.topk(k, dim=1)
    return top, place.gather(1, index).masked_fill(top == NOTHING, 0)


def empty(channels: int, k: int) -> tuple[Tensor, Tensor]:
    """Returns keys and places (c, k) without any picture."""
    return torch.full((channels, k), NOTHING), torch.zeros(channels, k, dtype=torch.int32)


def ranking(key: Tensor, place: Tensor, *, negated: bool = False) -> Ranking:
    """Turns keys and places into a ranking for users; `negated` says that the keys were made from -score."""
    score, sample = split(key)
    return Ranking(-score + 0.0 if negated else score, sample, place)
