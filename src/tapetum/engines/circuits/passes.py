"""Runs passes in which the nodes of some groups have given values, and reads what other nodes become."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from tapetum.engines.circuits.flow import Flow
from tapetum.engines.circuits.groups import NodeGroup
from tapetum.engines.circuits.linear import linearised
from tapetum.engines.circuits.steps import Steps
from tapetum.engines.scores import ModelScore
from tapetum.models.operations.call import Call
from tapetum.models.passes import StopForward
from tapetum.models.vision_model import VisionModel
from tapetum.types import MethodError

Change: TypeAlias = Callable[[NodeGroup, Tensor], Tensor]
"""Function of a group and its output as computed, to the output that the pass goes on with."""


@dataclass(frozen=True, eq=False)
class Outside:
    """Outputs that groups have in a pass, and the flow by which operations that nothing needs are left out.

    flow    record of a pass over the same images; None: every operation runs
    """

    given: Mapping[NodeGroup, Tensor]
    flow: Flow | None = None

    def needed(self, end: NodeGroup | None) -> frozenset[int] | None:
        steps = [group.step for group in self.given]
        return None if self.flow is None else self.flow.needed(None if end is None else end.step, steps)


def score_with(score: ModelScore, images: Tensor, outside: Outside) -> Tensor:
    """Returns the score (n,) where groups have given outputs, without gradients."""
    with torch.no_grad(), _Given(score.model, outside, (), {}):
        return score(images)


def read_with(
    model: VisionModel, images: Tensor, reads: Sequence[NodeGroup], outside: Outside, rows: Sequence[int] | None
) -> dict[NodeGroup, Tensor]:
    """Returns what the groups `reads` become where other groups have given outputs; the pass ends after the last one.

    rows: indices of the explained images, whose further inputs the network gets.
    """
    found: dict[NodeGroup, Tensor] = {}
    with torch.no_grad(), _Given(model, outside, reads, found):
        model(images, rows)
    _check_found(model, found, reads)
    return found


def followed(score: ModelScore, images: Tensor, reads: Sequence[NodeGroup]) -> tuple[dict[NodeGroup, Tensor], Flow]:
    """Returns what groups are in an ordinary pass, and the record of the whole pass."""
    found: dict[NodeGroup, Tensor] = {}
    flow = Flow()
    with torch.no_grad(), _Recorded(score.model, reads, found, flow):
        score(images)
    _check_found(score.model, found, reads)
    return found, flow


def _check_found(model: VisionModel, found: Mapping[NodeGroup, Tensor], reads: Sequence[NodeGroup]) -> None:
    if len(found) < len(reads):
        raise MethodError(f"{model.name} takes another way through its operations with these images: it has no fixed circuit")


def recorded(score: ModelScore, images: Tensor, groups: Sequence[NodeGroup], change: Change, *, linear: bool = False) -> Tensor:
    """Runs the network with gradients on; `change` sees the output of every group and says what the pass goes on with.

    linear: activation functions are replaced by their identity, max-pooling by the average, and what depends on the picture
    (attention weights, deviations of normalisations) is held constant.
    """
    with torch.enable_grad(), _Changed(score.model, groups, change, linear):
        return score(images)


class _Checked(Steps):
    """Knows the groups by their steps, and refuses a pass in which another operation stands there."""

    def __init__(self, model: VisionModel, groups: Sequence[NodeGroup]) -> None:
        super().__init__(model)
        self.groups = {group.step: group for group in groups}

    def group_at(self, step: int, call: Call) -> NodeGroup | None:
        group = self.groups.get(step)
        if group is not None and group.name != call.name:
            raise MethodError(
                f"operation {step} is {call.name} with these images, {group.name} with others: the network takes another way, "
                "so it has no fixed circuit"
            )
        return group


class _Given(_Checked):
    def __init__(
        self, model: VisionModel, outside: Outside, reads: Sequence[NodeGroup], found: dict[NodeGroup, Tensor]
    ) -> None:
        super().__init__(model, [*outside.given, *reads])
        self.outside, self.reads, self.found = outside, set(reads), found
        alone = len(self.reads) < 2
        self.needed = outside.needed(next(iter(self.reads), None)) if alone else None

    def at(self, step: int, call: Call) -> Any:
        group, given = self.group_at(step, call), self.outside.given
        if group in self.reads:
            self.found[group] = call().clone()
            if len(self.found) == len(self.reads):
                raise StopForward
            return (given[group] if group in given else self.found[group]).clone()
        if self.needed is not None and step not in self.needed and self.outside.flow is not None:
            stand_in = self.outside.flow.outputs.get(step)
            return call() if stand_in is None else stand_in
        return call() if group is None else given[group].clone()  # later operations may overwrite it


class _Recorded(_Checked):
    def __init__(self, model: VisionModel, reads: Sequence[NodeGroup], found: dict[NodeGroup, Tensor], flow: Flow) -> None:
        super().__init__(model, reads)
        self.found, self.flow = found, flow

    def at(self, step: int, call: Call) -> Any:
        inputs = self.flow.before(call)
        output = call()
        self.flow.note(step, inputs, output)
        group = self.group_at(step, call)
        if group is not None:
            self.found[group] = output.clone()
        return output


class _Changed(_Checked):
    def __init__(self, model: VisionModel, groups: Sequence[NodeGroup], change: Change, linear: bool) -> None:
        super().__init__(model, groups)
        self.change, self.linear = change, linear

    def at(self, step: int, call: Call) -> Any:
        group = self.group_at(step, call)
        output = linearised(call) if self.linear else call()
        return output if group is None else self.change(group, output)
