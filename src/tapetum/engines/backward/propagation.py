"""Runs a network so that its backward pass carries relevance in place of gradients, operation by operation.

Convolutions and linear layers use the rules of the composite; a batch-norm that follows one is merged into its weights.
Activation functions pass relevance on unchanged; sums, averages and attention share it out in proportion to what each input
contributes (zennit: Norm); gates, attention weights and the deviations of normalisations are held constant. Views,
concatenations and max-pooling only move values, so their ordinary backward pass moves relevance. A network with any other
operation is refused, and the error names the operation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from tapetum.engines.backward.composites import Composite
from tapetum.engines.backward.equations import Affine, epsilon, over
from tapetum.engines.backward.modes import OperationMode
from tapetum.engines.backward.rules import replaced
from tapetum.engines.gradients import graph_nodes
from tapetum.models.operations.call import Call
from tapetum.models.operations.kinds import Operation
from tapetum.types import MethodError

_CARRIES = (None, "add", "multiply", "batch_norm")
"""Operations whose output still counts as a gate, or as the image, if their inputs do."""


class Propagation:
    """One LRP pass with the rules of a composite: run the network in `with propagation.mode:`, then call autograd."""

    def __init__(self, composite: Composite, handlers: Handlers, images: Tensor, box: tuple[Tensor, Tensor]) -> None:
        self.composite, self.handlers = composite, handlers
        self.mode = OperationMode(self._run)
        self.answered = False  # True once the network has returned; operations that compute the score keep plain gradients
        self.last: Affine | None = None
        self.first = self.relus = 0  # numbers of operations that got the image itself, and of ReLUs
        self.affine = WeakTensorKeyDictionary()  # outputs of convolutions and linear layers, which a batch-norm may follow
        self.gates = WeakTensorKeyDictionary()  # {factor that a product may hold constant: rank, highest first}
        self.boxes = WeakTensorKeyDictionary()  # the image and its views, with the least and largest values they can have
        self.boxes[images] = box

    def forget(self) -> None:
        """Breaks the reference cycle between this pass and the autograd graph."""
        self.last = None
        for kept in (self.affine, self.gates, self.boxes, self.mode.newer, self.mode.overwritten):
            kept.clear()

    def _run(self, call: Call) -> Any:
        if self.answered or not call.active:
            return call()
        handler = self.handlers.get(call.operation) if call.operation else None
        self.relus += call.operation == "relu"
        output = call() if handler is None else handler(self, call)
        if call.operation in _CARRIES and isinstance(output, Tensor):
            self._carry(call, output)
        return output

    def _carry(self, call: Call, output: Tensor) -> None:
        """Marks an operation's output as a gate, or as a version of the image with its value range, if its inputs are."""
        inputs = [call.main] if call.name.endswith("_as") else call.inputs  # in a.expand_as(b) only the shape of b matters
        if len(inputs) == 1 and inputs[0] in self.gates:
            self.gates[output] = self.gates[inputs[0]]
        if all(one in self.boxes for one in inputs):
            with torch.no_grad():
                ends = [call.on(inputs, [self.boxes[one][i].expand_as(one) for one in inputs])() for i in (0, 1)]
            self.boxes[output] = torch.minimum(*ends), torch.maximum(*ends)

    # --- affine operations

    def affine_operation(self, call: Call, operation: Affine) -> Tensor:
        """Runs an affine operation with its rule; remembers it for a batch-norm that may follow, and as the last affine one."""
        operation = replace(operation, box=self.boxes.get(operation.x))
        output = replaced(call, lambda relevance: (self.shared(operation, relevance),), operation.x)
        self.affine[output] = self.last = operation
        return output

    def shared(self, operation: Affine, relevance: Tensor) -> Tensor:
        """Returns the relevance of an affine operation's input, given the relevance of its output, by the composite's rule."""
        if operation.seen is not None:
            relevance = operation.seen(relevance)
        return self._rule(operation)(operation, relevance)

    def _rule(self, operation: Affine) -> Callable[[Affine, Tensor], Tensor]:
        if self.composite.first is not None and operation.box is not None:
            self.first += 1
            return self.composite.first
        if self.composite.last is not None and operation is self.last:
            return self.composite.last
        return self.composite.convolution if operation.name.startswith("conv") else self.composite.linear

    def normalized(self, call: Call, operation: Affine) -> Tensor:
        """Runs a normalisation, which is affine while its statistics are held constant, with the epsilon rule."""
        rule = epsilon(self.composite.stabilizer)
        return replaced(call, lambda relevance: (rule(operation, relevance),), operation.x)

    # --- linear in one of the operands, the others held constant

    def proportional(self, call: Call, operand: Tensor) -> Tensor:
        """Runs an operation z = A x that is linear in one operand x; relevance goes back as R_in = x * A^T (R / A x)."""
        constant = call.holding(operand)

        def backward(relevance: Tensor) -> tuple[Tensor]:
            with torch.enable_grad():
                x = operand.detach().requires_grad_()
                z = constant.on([operand], [x])()
            (gradient,) = torch.autograd.grad(z, x, over(relevance, z.detach(), self.composite.stabilizer))
            return (x.detach() * gradient,)

        return replaced(constant, backward, operand)

    # --- what a layer sees

    def intercept(self, activation: Tensor, seen: Callable[[Tensor], Tensor]) -> Tensor:
        """Returns a layer's activation unchanged; on the way back, `seen` replaces the relevance that arrives there."""
        output = replaced(lambda: activation.view_as(activation), lambda relevance: (seen(relevance),), activation)
        before = self.affine.get(activation)
        if before is not None:  # a batch-norm that follows is merged into it: relevance arrives there directly
            earlier = before.seen
            chained = seen if earlier is None else lambda relevance: earlier(seen(relevance))
            self.affine[output] = replace(before, seen=chained)
        return output


Handlers = Mapping[Operation, Callable[[Propagation, Call], Any]]
"""{kind of operation: function that runs it so that relevance can go back through it}."""

_ROUTES = {
    "_Replaced", "AccumulateGrad", "View", "UnsafeView", "ReshapeAlias", "Alias", "AsStrided", "Permute", "Transpose", "T",
    "Expand", "Squeeze", "Unsqueeze", "Slice", "Select", "Index", "IndexSelect", "Gather", "Split", "SplitWithSizes",
    "Unbind", "Cat", "Stack", "Clone", "Copy", "CopySlices", "ToCopy", "Repeat", "Roll", "Flip", "Unfold", "Im2Col",
    "PixelShuffle", "PixelUnshuffle", "ConstantPadNd", "ReflectionPad2D", "ReplicationPad2D", "Where", "MaskedFill",
    "Maximum", "Minimum", "Diagonal", "MaxPool2DWithIndices", "MaxPool3DWithIndices", "AdaptiveMaxPool2D",
    "AdaptiveMaxPool3D", "Max", "Amax", "Topk", "IndexPut",
}  # fmt: skip
"""Autograd nodes that only copy, select or drop values, so that their ordinary backward pass moves relevance correctly."""


def refuse_unknown(outputs: list[Tensor], name: str) -> None:
    """Refuses a recorded graph with an operation without a rule, which would pass a gradient on as if it were relevance."""
    for node in graph_nodes(*outputs):
        kind = re.sub(r"Backward\d*$", "", node.name().rpartition("::")[2])
        if kind not in _ROUTES:
            raise MethodError(f"relevance has no rule for the operation {kind} in {name}, and a gradient is none")
