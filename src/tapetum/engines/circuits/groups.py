"""Finds the nodes that circuits are made of: channels of convolutions, heads of attentions, outputs of MLPs.

One pass shows where they are. A convolution's channels are read after its batch-norm and before its activation function, where
excitation and inhibition can both be seen; a head is its share of the attention's output, before heads are mixed; an MLP is one
node, whatever its width. Other layers become groups of channels by their name.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from tapetum.engines.attention import PASSING
from tapetum.engines.circuits.steps import Steps
from tapetum.models.gradients import unseen_by_modes
from tapetum.models.hooks import hooked
from tapetum.models.operations.call import Call
from tapetum.models.operations.kinds import ACTIVATIONS, CONVOLUTIONS, MATRIX_PRODUCTS, SQUASHES
from tapetum.models.operations.nested import outputs
from tapetum.models.vision_model import VisionModel
from tapetum.types import LayerError
from tapetum.types.circuits import NodeKind


@dataclass(frozen=True)
class NodeGroup:
    """The nodes in the output of one operation.

    step     number of the operation in a pass
    name     plain name of the operation, by which another pass is checked
    layer    name for users: the module whose output this is, or in which it is computed
    kind     "channel", "head" or "mlp"
    count    number of nodes
    axis     axis along which they lie; None: the whole tensor is one node; 0: heads folded into the batch, image by image
    """

    step: int
    name: str
    layer: str
    kind: NodeKind
    count: int
    axis: int | None

    def by_node(self, values: Tensor, n: int) -> Tensor:
        """Returns values of the operation's output for n images as (n, nodes, numbers of each)."""
        if self.axis is None:
            return values.reshape(n, 1, -1)
        if self.axis == 0:
            return values.reshape(n, self.count, -1)
        split = values.reshape(n, -1, *values.shape[1:])  # windows of an image lie in the batch
        axis = self.axis if self.axis < 0 else self.axis + 1
        return split.movedim(axis, 1).flatten(2)

    def spread(self, each: Tensor, like: Tensor) -> Tensor:
        """Returns one number per node (nodes,) in a shape that broadcasts over the operation's output."""
        if self.axis is None:
            return each
        if self.axis == 0:
            return each.repeat(len(like) // self.count).view(-1, *(1,) * (like.ndim - 1))
        shape = [1] * like.ndim
        shape[self.axis] = self.count
        return each.view(shape)

    def average(self, values: Tensor) -> Tensor:
        """Returns the output with every node at its average over images and places; a head keeps its features apart."""
        if self.axis == 0:
            apart = values.unflatten(0, (-1, self.count))
            return apart.mean((0, 2), keepdim=True).expand_as(apart).flatten(0, 1)
        kept = {axis % values.ndim for axis in (self.axis, -1 if self.kind != "channel" else None) if axis is not None}
        return values.mean([i for i in range(values.ndim) if i not in kept], keepdim=True).expand_as(values)


@dataclass(frozen=True, eq=False)
class Plan:
    """What one recorded pass showed: the groups that are found by themselves, and the operation that makes each layer's output.

    made  {module: (step, name of the operation, output) of each of its runs}
    """

    groups: tuple[NodeGroup, ...]
    made: dict[str, list[tuple[int, str, Tensor]]]

    def step_of(self, model: VisionModel, layer: str) -> int:
        """Number of the operation that makes a layer's output."""
        site, last, _ = model.survey.hooked_at(layer)
        runs = self.made.get(site.module, [])
        if site.output is not None or last >= len(runs):
            raise LayerError(f"{layer} of {model.name} is no output of one operation, so it has no nodes: use another layer")
        return runs[last][0]

    def named(self, model: VisionModel, layers: str | Sequence[str] | None) -> tuple[NodeGroup, ...]:
        """Returns the groups that names or globs mean, in the order of the pass; None: all that are found by themselves."""
        if layers is None:
            if not self.groups:
                raise LayerError(f"{model.name} has no convolution, attention or hidden layer whose units could be nodes")
            return self.groups
        found: dict[int, NodeGroup] = {}
        for pattern in [layers] if isinstance(layers, str) else layers:
            own = [group for group in self.groups if fnmatch.fnmatch(group.layer, pattern)]
            for group in own or (self._layer(model, name) for name in model.named([pattern])):
                found[group.step] = group
        return tuple(found[step] for step in sorted(found))

    def _layer(self, model: VisionModel, layer: str) -> NodeGroup:
        step = self.step_of(model, layer)
        name, output = next((name, one) for runs in self.made.values() for at, name, one in runs if at == step)
        here = model.survey.map_of(layer)
        if here.layout == "none" and output.ndim != 2:
            raise LayerError(f"{layer} of {model.name} has no map and so no channels: use another layer")
        axis = -1 if here.layout not in ("nchw", "none") else 1
        return NodeGroup(step, name, layer, "channel", output.shape[axis], axis)


def plan(model: VisionModel) -> Plan:
    """Finds the groups of a network in one pass over a blank image."""
    return model.remember("nodes of circuits", lambda: _planned(model))


def _planned(model: VisionModel) -> Plan:
    finder, made = _Finder(model), {}
    names: dict[int, str] = {}

    def end(name: str, _inputs: Any, output: Any) -> None:
        finder.running.pop()
        with unseen_by_modes():  # a look at the output is no operation of the network
            tensor = next((one for _, one in outputs(output)), None)
        if tensor is None or tensor not in finder.made:
            return
        step, operation = finder.made[tensor]
        made.setdefault(name, []).append((step, operation, tensor))
        names.setdefault(step, name)

    inside = [(name, part) for name, part in model.replica.named_modules() if name]
    with torch.no_grad(), hooked(inside, finder.running.append, end), finder:
        model(model.blank())
    found = finder.found()
    layers = [_layer_of(one, names, [other.layer for other in found]) for one in found]
    groups = [replace(one, layer=layer or f"{one.kind} {i}") for i, (one, layer) in enumerate(zip(found, layers, strict=True))]
    return Plan(tuple(groups), made)


def _layer_of(group: NodeGroup, names: dict[int, str], own: Sequence[str]) -> str:
    """Returns the innermost module whose output an operation's result is; or the one that computes it, if modules inside that
    one only pass it on, as a normalisation with a built-in activation function hands it to an empty dropout.
    """
    name = names.get(group.step, group.layer)
    passed_on = name.startswith(f"{group.layer}.") and own.count(group.layer) == 1 and group.layer not in names.values()
    return group.layer if passed_on else name


@dataclass(eq=False)
class _Seen:
    """What is known of a tensor while a pass is searched: the group it may become, and what it went through.

    linear     output of a linear layer
    activated  went through an activation function since a linear layer, as the inside of an MLP has
    softmax    attention weights
    """

    group: NodeGroup | None = None
    linear: bool = False
    activated: bool = False
    softmax: bool = False


class _Finder(Steps):
    """Follows a pass and collects groups."""

    def __init__(self, model: VisionModel) -> None:
        super().__init__(model)
        self.running: list[str] = []
        self.made = WeakIdKeyDictionary()  # {tensor: (step, operation) that wrote it last}
        self.kept: list[Tensor] = []  # so that no address is used twice
        self.seen = WeakIdKeyDictionary()
        self.taken: dict[int, NodeGroup] = {}

    def found(self) -> list[NodeGroup]:
        """Returns the groups in order; convolutions that only make tokens, before the first head or MLP, are left out."""
        groups = [self.taken[step] for step in sorted(self.taken)]
        if not any(one.kind == "head" for one in groups):
            return groups
        first = next(i for i, one in enumerate(groups) if one.kind != "channel")
        return groups[first:]

    def at(self, step: int, call: Call) -> Any:
        before = [self.seen.get(one) or _Seen() for one in call.tensors]
        output = call()
        if isinstance(output, Tensor) and output.is_floating_point():
            self.made[output] = (step, call.name)
            self.kept.append(output)
            seen = self._after(step, call, before, output)
            if seen is not None:
                self.seen[output] = seen
        return output

    def _group(self, step: int, call: Call, kind: NodeKind, output: Tensor, axis: int | None) -> NodeGroup:
        count = 1 if axis is None else output.shape[axis]
        return NodeGroup(step, call.name, (self.running or [""])[-1], kind, count, axis)

    def _take(self, group: NodeGroup) -> None:
        self.taken[group.step] = group

    def _after(self, step: int, call: Call, before: Sequence[_Seen], output: Tensor) -> _Seen | None:
        first = before[0] if before else _Seen()
        if call.name in CONVOLUTIONS:
            return self._convolution(step, call, output)
        if call.name == "batch_norm" and first.group is not None:
            return self._normalised(step, call, first, output)
        if call.name == "linear":
            return self._linear(step, call, first, output)
        if call.name == "scaled_dot_product_attention":
            self._product(step, call, output)
            return None
        if call.name == "softmax" and output.ndim > 2 and call.get(1, "dim") in (-1, output.ndim - 1):
            return _Seen(softmax=True)
        if call.name in MATRIX_PRODUCTS and any(one.softmax for one in before):
            self._product(step, call, output)
            return None
        if call.name in ACTIVATIONS - SQUASHES or call.operation == "relu":
            if first.group is not None and first.linear and output.ndim == 2:
                self._take(first.group)
            return _Seen(activated=first.linear)
        if call.name in PASSING:
            return first
        if call.name in ("mul", "batch_norm", "layer_norm"):
            return _Seen(linear=first.linear, activated=any(one.activated for one in before))
        return None

    def _convolution(self, step: int, call: Call, output: Tensor) -> _Seen | None:
        if output.shape[2:].numel() == 1 and call.main.shape[2:].numel() == 1:
            return None  # a gate of squeeze and excitation, or a layer of a head: part of the path, no map
        group = self._group(step, call, "channel", output, 1)
        self._take(group)
        return _Seen(group)

    def _normalised(self, step: int, call: Call, first: _Seen, output: Tensor) -> _Seen | None:
        """Moves a group behind the batch-norm of its convolution or linear layer."""
        assert first.group is not None
        group = self._group(step, call, "channel", output, 1)
        if first.linear:
            return _Seen(group, linear=True)
        if self.taken.pop(first.group.step, None) is not None:
            self._take(group)
        return None

    def _linear(self, step: int, call: Call, first: _Seen, output: Tensor) -> _Seen | None:
        if output.ndim == 2:  # a hidden layer of units, if an activation function follows
            return _Seen(self._group(step, call, "channel", output, 1), linear=True)
        if first.activated:
            self._take(self._group(step, call, "mlp", output, None))
            return None
        return _Seen(linear=True)

    def _product(self, step: int, call: Call, output: Tensor) -> None:
        if output.ndim > 3:
            self._take(self._group(step, call, "head", output, output.ndim - 3))
        else:  # heads are folded into the batch, which here is one image
            self._take(replace(self._group(step, call, "head", output, 0), count=len(output)))


def counted(groups: Sequence[NodeGroup]) -> str:
    """Says how many nodes of each kind the groups hold: "9216 channels", "36 heads, 12 MLPs"."""
    words = {"channel": "channels", "head": "heads", "mlp": "MLPs"}
    totals = {kind: sum(one.count for one in groups if one.kind == kind) for kind in words}
    return ", ".join(f"{total} {words[kind]}" for kind, total in totals.items() if total)
