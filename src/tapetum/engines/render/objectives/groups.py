"""Objectives that compare the pictures of one group: to differ, to be aligned, or to lead from one objective to another.

They take all pictures of a batch for one group; `each(objectives, group=g)` gives each objective g pictures as its group.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.render.objectives.base import Objective, Seen
from tapetum.engines.render.objectives.common import call_text, maps, mean, norm, positive, whole_number
from tapetum.engines.render.objectives.comparisons import gram
from tapetum.engines.render.objectives.units import channel
from tapetum.types import MethodError


def diversity(layer: str) -> Objective:
    """Difference (n,) in style of each picture from the others of its group: -sum over the others of G_i . G_j / (|G_i| |G_j|).

    G_i is the Gram matrix of the layer for picture i. Values range from -(g - 1), if all g pictures are alike, to 0. Their mean
    over the group is olah2017feature's number, the sum over all ordered pairs divided by g. To be ADDED, as in
    `channel(...) + w * diversity(...)`; Lucid and Lucent call the similarity diversity, and subtract it.
    """

    def value(seen: Seen) -> Tensor:
        _check_group(seen, "diversity")
        grams = gram(maps(seen, layer))
        lengths = norm(grams).view(-1, 1, 1)
        sides = grams / torch.where(lengths > 0, lengths, 1)  # a picture with zero activation is similar to none
        return -(sides * (sides.sum(0) - sides)).flatten(1).sum(1)

    return Objective(call_text("diversity", layer), (layer,), value)


def alignment(layer: str, *, decay: float | int = 2, distances: Sequence[int] = (1, 2, 3, 4)) -> Objective:
    """Similarity (n,) of each picture to its neighbours in the group, to be added: -sum of mean((a_i - a_j)^2) / decay^d.

    The sum is over the pictures j = i - d and j = i + d for all `distances` d. For paths whose pictures should show things at
    the same position. Every pair counts for both of its pictures; Lucid's number is half the sum over the group.
    """
    base = positive(decay, "decay")
    steps = tuple(dict.fromkeys(whole_number(one, "a distance", 1, MethodError) for one in distances))
    if not steps:
        raise MethodError("alignment compares pictures at some distance in the group: give distances such as (1, 2)")

    def value(seen: Seen) -> Tensor:
        n = _check_group(seen, "alignment", min(steps) + 1)
        act = maps(seen, layer)
        apart = act.new_zeros(n)
        for d in steps:
            if d < n:
                pairs = mean((act[d:] - act[:-d]) ** 2) / base**d
                apart = apart + F.pad(pairs, (0, d)) + F.pad(pairs, (d, 0))
        return -apart

    options = {"decay": None if base == 2 else base, "distances": None if steps == (1, 2, 3, 4) else steps}
    return Objective(call_text("alignment", layer, **options), (layer,), value)


def interpolate(a: Objective, b: Objective) -> Objective:
    """Mixture (n,) of two objectives, (1 - t) a + t b, where t goes from 0 at the first picture of the
    group to 1 at the last.
    """

    def value(seen: Seen) -> Tensor:
        n = _check_group(seen, "interpolate")
        start, end = a(seen), b(seen)
        t = torch.linspace(0, 1, n, device=start.device, dtype=start.dtype)
        return (1 - t) * start + t * end

    return Objective(call_text("interpolate", a, b), tuple(dict.fromkeys(a.needs + b.needs)), value)


def channel_interpolate(layer_a: str, index_a: int, layer_b: str, index_b: int) -> Objective:
    """Mixture (n,) of two channels, from the one at the first picture of the group to the other at the last."""
    path = interpolate(channel(layer_a, index_a), channel(layer_b, index_b))
    return Objective(call_text("channel_interpolate", layer_a, index_a, layer_b, index_b), path.needs, path.value)


def _check_group(seen: Seen, name: str, least: int = 2) -> int:
    if len(seen) < least:
        raise MethodError(f"{name} compares pictures of a group: it needs {least} or more of one objective, not {len(seen)}")
    return len(seen)
