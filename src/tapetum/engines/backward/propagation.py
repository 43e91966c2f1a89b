"""How relevance goes back through every operation of a network: what arrives at an output is relevance, not a gradient.

Convolutions and linear layers follow the composite; a batch-norm behind one is merged into its weights. Activations pass
relevance on; sums, averages and attention share it in proportion to what each input contributes (zennit: Norm); gates,
attention weights and the deviations of normalisations are constants. Views, concatenations and max-pooling move values
about, so their own backward moves relevance. Anything else is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from tapetum.engines.backward.affine import batch_norm_scale, channelwise, normalization, weighted
from tapetum.engines.backward.attention import multi_head_attention
from tapetum.engines.backward.composites import Composite
from tapetum.engines.backward.equations import Affine, epsilon, over
from tapetum.engines.backward.modes import OperationMode
from tapetum.engines.backward.operations import Call, Operation
from tapetum.engines.backward.rules import replaced
from tapetum.engines.structure import tensors
from tapetum.types import MethodError


class Propagation:
    """One pass under a composite: `with propagation.mode: score(images)`."""

    def __init__(self, composite: Composite, images: Tensor, box: tuple[Tensor, Tensor]) -> None:
        self.composite = composite
        self.mode = OperationMode(self._run)
        self.answered = False  # set when the network has answered: what reads the score off its answer has plain gradients
        self.last: Affine | None = None
        self.first = self.relus = 0  # operations that saw the image itself; ReLUs
        self.affine = WeakTensorKeyDictionary()  # outputs of convolutions and linear layers, which a batch-norm may follow
        self.gates = WeakTensorKeyDictionary()  # what may be held constant in a product
        self.boxes = WeakTensorKeyDictionary()  # the image and what is cut from it: its least and largest values
        self.boxes[images] = box

    def _run(self, call: Call) -> Any:
        if self.answered or not call.active:
            return call()
        handler = _HANDLERS.get(call.operation) if call.operation else None
        self.relus += call.operation == "relu"
        output = call() if handler is None else handler(self, call)
        if call.operation in _CARRIES and isinstance(output, Tensor):
            self._carry(call, output)
        return output

    def _carry(self, call: Call, output: Tensor) -> None:
        """What is a gate, or the image, is still one after a view, a factor or a shift."""
        inputs = [call.main] if call.name.endswith("_as") else _active(call)  # expand_as(x) moves nothing of x
        if len(inputs) == 1 and inputs[0] in self.gates:
            self.gates[output] = self.gates[inputs[0]]
        if all(one in self.boxes for one in inputs):
            with torch.no_grad():
                ends = [_on(call, {id(one): self.boxes[one][i].expand_as(one) for one in inputs})() for i in (0, 1)]
            self.boxes[output] = torch.minimum(*ends), torch.maximum(*ends)

    # --- affine operations

    def affine_operation(self, call: Call, operation: Affine) -> Tensor:
        """Runs it and registers it: for its rule, for a batch-norm that follows, and as the last so far."""
        operation = replace(operation, box=self.boxes.get(operation.x))
        output = replaced(call, lambda relevance: (self.shared(operation, relevance),), operation.x)
        self.affine[output] = self.last = operation
        return output

    def shared(self, operation: Affine, relevance: Tensor) -> Tensor:
        """The relevance of an operation's outputs, to that of its inputs, by the rule it has."""
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
        """An affine operation that is no layer of its own: a normalisation."""
        rule = epsilon(self.composite.stabilizer)
        return replaced(call, lambda relevance: (rule(operation, relevance),), operation.x)

    # --- linear in one of the operands, the others held constant

    def proportional(self, call: Call, operand: Tensor) -> Tensor:
        """R_in = x * A^T (R / A x) for z = A x: each input by what it contributes."""
        constant = _holding(call, operand)

        def backward(relevance: Tensor) -> tuple[Tensor]:
            with torch.enable_grad():
                x = operand.detach().requires_grad_()
                z = _on(constant, {id(operand): x})()
            (gradient,) = torch.autograd.grad(z, x, over(relevance, z.detach(), self.composite.stabilizer))
            return (x.detach() * gradient,)

        return replaced(constant, backward, operand)

    # --- what a layer sees

    def intercept(self, activation: Tensor, seen: Callable[[Tensor], Tensor]) -> Tensor:
        """The same activation; `seen` gets the relevance that arrives at it and says what goes on."""
        output = replaced(lambda: activation.view_as(activation), lambda relevance: (seen(relevance),), activation)
        before = self.affine.get(activation)
        if before is not None:  # a batch-norm that follows is merged into it: relevance arrives there directly
            chained = seen if before.seen is None else _chain(seen, before.seen)
            self.affine[output] = replace(before, seen=chained)
        return output


def _chain(later: Callable[[Tensor], Tensor], earlier: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda relevance: earlier(later(relevance))


def _active(call: Call) -> list[Tensor]:
    found = [one for one in tensors([call.args, call.kwargs]) if one.requires_grad]
    return [one for i, one in enumerate(found) if not any(one is other for other in found[:i])]


def _on(call: Call, values: Mapping[int, Tensor]) -> Call:
    """The call on other values in place of some operands, named by their id."""
    return replace(call, args=_swapped(call.args, values), kwargs=_swapped(call.kwargs, values))


def _swapped(tree: Any, values: Mapping[int, Tensor]) -> Any:
    if isinstance(tree, dict):
        return {key: _swapped(one, values) for key, one in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)([_swapped(branch, values) for branch in tree])
    return values.get(id(tree), tree)


def _holding(call: Call, signal: Tensor) -> Call:
    """The call with every other operand held constant."""
    return _on(call, {id(one): one.detach() for one in _active(call) if one is not signal})


# --- one handler a kind of operation


def _weighted(pass_: Propagation, call: Call) -> Any:
    operation = weighted(call)
    return pass_.affine_operation(call, operation) if _is_only(operation.x, _active(call)) else call()


def _is_only(x: Tensor, inputs: list[Tensor]) -> bool:
    return len(inputs) == 1 and inputs[0] is x


def _batch_norm(pass_: Propagation, call: Call) -> Any:
    scale = batch_norm_scale(call)
    if scale is None:
        return call()
    if call.main in pass_.boxes:
        return _pass_on(pass_, call, call.main)
    before: Affine | None = pass_.affine.get(call.main)
    if before is None or "transpose" in before.name:
        return pass_.normalized(call, channelwise(call.main, *scale))
    merged = before.scaled(*scale)
    pass_.last = merged if pass_.last is before else pass_.last
    return replaced(call, lambda relevance: (pass_.shared(merged, relevance),), merged.x)


def _normalize(pass_: Propagation, call: Call) -> Any:
    operation = normalization(call)
    return call() if operation is None else pass_.normalized(call, operation)


def _activation(pass_: Propagation, call: Call) -> Tensor:
    """R_in = R_out."""
    output = replaced(call, lambda relevance: (relevance,), call.main)
    rank = _RANKS.get(call.operation or "", 1 if call.name in ("relu6", "hardtanh", "clamp", "clip") else 0)
    if rank:
        pass_.gates[output] = rank
    return output


_RANKS = {"squash": 2}
"""How likely a factor is a gate: sigmoids and the like are, a bounded ReLU may be (relu6(x + 3) / 6)."""


def _gate(rank: int) -> Callable[[Propagation, Call], Any]:
    def handle(pass_: Propagation, call: Call) -> Any:
        output = call()
        pass_.gates[output] = rank
        return output

    return handle


def _add(pass_: Propagation, call: Call) -> Any:
    """R_x = x / (x + y) R, R_y = y / (x + y) R; a constant keeps its share."""
    inputs = _active(call)
    if len(inputs) == 1 and inputs[0] in pass_.boxes:
        return _pass_on(pass_, call, inputs[0])  # an input normalisation inside the network
    if len(inputs) < 2:
        return pass_.proportional(call, inputs[0])

    def backward(relevance: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            leaves = [one.detach().requires_grad_() for one in inputs]
            z = _on(call, {id(one): leaf for one, leaf in zip(inputs, leaves, strict=True)})()
        gradients = torch.autograd.grad(z, leaves, over(relevance, z.detach(), pass_.composite.stabilizer))
        return tuple(leaf.detach() * gradient for leaf, gradient in zip(leaves, gradients, strict=True))

    return replaced(call, backward, *inputs)


def _pass_on(_: Propagation, call: Call, signal: Tensor) -> Tensor:
    """R_in = R_out, summed over what was broadcast."""
    return replaced(_holding(call, signal), lambda relevance: (relevance.sum_to_size(signal.shape),), signal)


def _multiply(pass_: Propagation, call: Call) -> Any:
    """R_signal = R; the gate is held constant. So is a denominator."""
    a, b = call.get(0, "input"), call.get(1, "other")
    divides = "div" in call.name
    active = [one for one in (a, b) if isinstance(one, Tensor) and one.requires_grad]
    if divides:
        return _pass_on(pass_, call, a) if a is active[0] else _gate(2)(pass_, call)
    if len(active) == 1 and active[0] is not None:
        return _pass_on(pass_, call, active[0])
    signal = _signal(pass_, a, b)
    return call() if signal is None else _pass_on(pass_, call, signal)


def _signal(pass_: Propagation, a: Tensor, b: Tensor) -> Tensor | None:
    """Of two factors the one that is no gate: by what made them, else the larger one; None where nothing tells."""
    if a is b:
        return None
    rank_a, rank_b = (int(pass_.gates.get(one) or 0) for one in (a, b))
    if rank_a != rank_b:
        return a if rank_a < rank_b else b
    return None if a.numel() == b.numel() else max(a, b, key=Tensor.numel)


def _product(pass_: Propagation, call: Call) -> Any:
    """Matrix products with a constant: with weights, or with attention weights (softmax), which are held constant."""
    inputs = _active(call)
    if len(inputs) == 2:
        signal = [one for one in inputs if one not in pass_.gates]
        return pass_.proportional(call, signal[0]) if len(signal) == 1 else call()
    return pass_.proportional(call, inputs[0]) if len(inputs) == 1 else call()


def _attention(pass_: Propagation, call: Call) -> Any:
    """softmax(q k^T) v with the attention weights held constant: all relevance goes to the values."""
    value = call.get(2, "value")
    return pass_.proportional(call, value) if value.requires_grad else call()


def _multi_head(pass_: Propagation, call: Call) -> Any:
    """Written out, so that each of its operations is seen."""
    with pass_.mode:
        return multi_head_attention(*call.args, **call.kwargs)


def _average(pass_: Propagation, call: Call) -> Any:
    return pass_.proportional(call, call.main)


_HANDLERS: dict[Operation, Callable[[Propagation, Call], Any]] = {
    "convolution": _weighted,
    "linear": _weighted,
    "batch_norm": _batch_norm,
    "normalize": _normalize,
    "relu": _activation,
    "activation": _activation,
    "squash": _activation,
    "softmax": _gate(2),
    "statistic": _gate(2),
    "add": _add,
    "multiply": _multiply,
    "average": _average,
    "product": _product,
    "attention": _attention,
    "multi_head_attention": _multi_head,
}
_CARRIES = (None, "add", "multiply", "batch_norm")
"""Operations after which a gate is still a gate, and the image still the image."""

_ROUTES = frozenset(
    [
        "_Replaced",
        "AccumulateGrad",
        "View",
        "UnsafeView",
        "ReshapeAlias",
        "Alias",
        "AsStrided",
        "Permute",
        "Transpose",
        "T",
        "Expand",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "Select",
        "Index",
        "IndexSelect",
        "Gather",
        "Narrow",
        "Split",
        "SplitWithSizes",
        "Unbind",
        "Cat",
        "Stack",
        "Clone",
        "Copy",
        "CopySlices",
        "ToCopy",
        "Repeat",
        "Roll",
        "Flip",
        "Unfold",
        "Im2Col",
        "PixelShuffle",
        "PixelUnshuffle",
        "ChannelShuffle",
        "ConstantPadNd",
        "ReflectionPad2D",
        "ReplicationPad2D",
        "Where",
        "MaskedFill",
        "Maximum",
        "Minimum",
        "Diagonal",
        "MaxPool2DWithIndices",
        "MaxPool3DWithIndices",
        "AdaptiveMaxPool2D",
        "AdaptiveMaxPool3D",
        "Max",
        "Amax",
        "Topk",
        "IndexPut",
        "Detach",
        "Rot90",
        "NestedTensor",
        "Contiguous",
        "Tile",
        "Movedim",
        "RepeatInterleave",
    ]
)
"""Graph nodes whose own backward moves relevance: they copy, select or drop values."""


def refuse_unknown(outputs: list[Tensor], name: str) -> None:
    """Walks the recorded graph: an operation that no rule has handled would send a gradient on where relevance is due."""
    waiting, known = [one.grad_fn for one in outputs], set[Any]()
    while waiting:
        node = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        kind = re.sub(r"Backward\d*$", "", node.name().rpartition("::")[2])
        if kind not in _ROUTES:
            raise MethodError(f"relevance has no rule for the operation {kind} in {name}, and a gradient is none")
        waiting += [before for before, _ in node.next_functions]
