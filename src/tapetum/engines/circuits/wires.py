"""Direct effects: what a change of one node does to another one while every node between them is held where it was.

A recorded pass is cut at every group: each output becomes a leaf, with which the pass goes on. The output of a later group then
depends on the leaves of earlier ones along the paths that touch no third group, so a residual connection makes an edge between
nodes that are far apart, and a chain makes none past its middle. One pass records all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tapetum.engines.circuits.groups import NodeGroup
from tapetum.engines.circuits.passes import recorded
from tapetum.engines.scores import ModelScore
from tapetum.types import TargetError
from tapetum.types.refusals import NO_GRADIENT


@dataclass(frozen=True, eq=False)
class Wires:
    """A recorded pass of n images.

    made    {group: its output, as the pass computed it from the leaves of earlier groups}
    leaves  {group: what the pass went on with}: cut from `made`, or, where paths lead through all groups, the same tensor
    value   the score (n,)
    """

    made: Mapping[NodeGroup, Tensor]
    leaves: Mapping[NodeGroup, Tensor]
    value: Tensor

    @property
    def n(self) -> int:
        return len(self.value)

    def slopes(self, group: NodeGroup | None, seed: Tensor) -> dict[NodeGroup, Tensor]:
        """Returns d sum(seed * output) / d leaf for the leaves before a group that reach it; without a group, of the score."""
        output = self.value if group is None else self.made[group]
        before = [one for one in self.leaves if group is None or one.step < group.step]
        if not before or not output.requires_grad:
            return {}
        found = torch.autograd.grad(output, [self.leaves[one] for one in before], seed, retain_graph=True, allow_unused=True)
        return {one: slope for one, slope in zip(before, found, strict=True) if slope is not None}


def wires(
    score: ModelScore,
    images: Tensor,
    groups: Sequence[NodeGroup],
    *,
    cut: bool = True,
    linear: Mapping[NodeGroup, Tensor] | None = None,
) -> Wires:
    """Records a pass; `cut` at every group for direct effects, or not, for effects along all paths.

    linear: outputs of the groups in an ordinary pass. The pass then runs through the linear network of `linearised` in between,
    and starts at each group from these outputs.
    """
    made: dict[NodeGroup, Tensor] = {}
    leaves: dict[NodeGroup, Tensor] = {}

    def change(group: NodeGroup, output: Tensor) -> Tensor:
        made[group] = output
        if linear is not None:
            output = output + (linear[group] - output).detach()
        leaves[group] = output if output.requires_grad and not cut else output.detach().requires_grad_()
        return leaves[group]

    value = recorded(score, images, groups, change, linear=linear is not None)
    if not value.requires_grad:
        raise TargetError(NO_GRADIENT)
    return Wires(made, leaves, value)


def reading(group: NodeGroup, index: int, slopes: Sequence[Tensor], n: int) -> Tensor:
    """Weights with which a node's output is read as one number per image, in the shape of the output and zero elsewhere.

    A channel is read where the score listens, in its own units and sign: the weights are |g| / sum |g|, averaged over the given
    slopes g = d score / d output (as it is, and with activation functions taken as the identity, so that places where the
    channel is silenced count as well). A head or an MLP is read along the first slope, sum g a / sum |g|. Slopes that are zero
    do not count.
    """
    only = torch.zeros(group.count, dtype=slopes[0].dtype, device=slopes[0].device)
    only[index] = 1
    slopes = slopes if group.kind == "channel" else slopes[:1]
    parts = [_normalised(group, slope * group.spread(only, slope), n) for slope in slopes]
    total = torch.stack(parts).sum(0)
    return _normalised(group, total, n)


def _normalised(group: NodeGroup, own: Tensor, n: int) -> Tensor:
    """Divides by the sum of magnitudes of each image; zero and overflown slopes become zero."""
    own = (own.abs() if group.kind == "channel" else own).nan_to_num(0, 0, 0)
    total = own.abs().reshape(n, -1).sum(1)
    scale = torch.where(total > 0, 1 / total.where(total > 0, torch.ones_like(total)), torch.zeros_like(total))
    return own * scale.repeat_interleave(len(own) // n).view(-1, *(1,) * (own.ndim - 1))
