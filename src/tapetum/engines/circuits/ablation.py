"""What a node is replaced by when it is taken away: nothing, its average, or what it is on another picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tapetum.engines.circuits.groups import NodeGroup
from tapetum.types.circuits import Ablation


@dataclass(frozen=True, eq=False)
class Replacement:
    """Values of all groups for the images of one chunk, by which ablated nodes are replaced."""

    kind: Ablation
    values: Mapping[NodeGroup, Tensor]


def replacements(
    kind: Ablation, clean: Mapping[NodeGroup, Tensor], reference: Mapping[NodeGroup, Tensor], donors: Sequence[int], n: int
) -> Replacement:
    """Returns the replacement of every group's output `clean` on n images.

    zero: 0. mean: each node's average over the reference images and all places. resample: the output on the reference image
    `donors[i]` for image i.
    """
    if kind == "zero":
        return Replacement(kind, {group: torch.zeros_like(one) for group, one in clean.items()})
    if kind == "mean":
        return Replacement(kind, {group: _average(group, reference[group], one) for group, one in clean.items()})
    index = torch.tensor(list(donors))
    return Replacement(kind, {group: _rows(reference[group], clean[group], index, n) for group in clean})


def _average(group: NodeGroup, reference: Tensor, clean: Tensor) -> Tensor:
    average = group.average(reference)
    if group.axis != 0:
        return average[:1].expand_as(clean)
    heads = average[: group.count]
    return heads.repeat(len(clean) // group.count, *(1,) * (heads.ndim - 1))


def _rows(reference: Tensor, clean: Tensor, index: Tensor, n: int) -> Tensor:
    """Returns the outputs of the reference images `index`, each of which has several rows where windows or heads are folded."""
    each = len(clean) // n
    return reference.unflatten(0, (-1, each))[index.to(reference.device)].flatten(0, 1)
