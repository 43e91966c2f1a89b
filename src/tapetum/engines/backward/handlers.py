"""Handlers: functions that run each kind of operation so that relevance can go back through it.

A handler runs the operation of a `Call` within a `Propagation`, and returns an output whose backward pass carries
relevance. Where a handler has no rule it only runs the operation; `refuse_unknown` then refuses the network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tapetum.engines.backward.affine import batch_norm_scale, channelwise, normalization, weighted
from tapetum.engines.backward.attention import multi_head_attention
from tapetum.engines.backward.equations import Affine, over
from tapetum.engines.backward.propagation import Handlers, Propagation
from tapetum.engines.backward.rules import replaced
from tapetum.models.operations.call import Call


def _weighted(pass_: Propagation, call: Call) -> Any:
    operation = weighted(call)
    inputs = call.inputs
    return pass_.affine_operation(call, operation) if len(inputs) == 1 and inputs[0] is operation.x else call()


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
    """Runs an activation function; relevance passes through unchanged, R_in = R_out."""
    output = replaced(call, lambda relevance: (relevance,), call.main)
    if call.operation == "squash" or call.name in ("relu6", "hardtanh", "clamp"):
        # sigmoids and similar functions are gates, a bounded ReLU may be one (relu6(x + 3) / 6)
        pass_.gates[output] = 2 if call.operation == "squash" else 1
    return output


def _gate(rank: int) -> Callable[[Propagation, Call], Any]:
    def handle(pass_: Propagation, call: Call) -> Any:
        output = call()
        pass_.gates[output] = rank
        return output

    return handle


def _add(pass_: Propagation, call: Call) -> Any:
    """Runs a sum; R_x = x / (x + y) R and R_y = y / (x + y) R, and the share of a constant is not passed on."""
    inputs = call.inputs
    if call.name == "addcmul" and call.get(1, "tensor1").requires_grad and call.get(2, "tensor2").requires_grad:
        return call()  # x + y * z where y and z both depend on the image: no rule
    if len(inputs) == 1 and inputs[0] in pass_.boxes:
        return _pass_on(pass_, call, inputs[0])  # an input normalisation inside the network
    if len(inputs) < 2:
        return pass_.proportional(call, inputs[0])

    def backward(relevance: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            leaves = [one.detach().requires_grad_() for one in inputs]
            z = call.on(inputs, leaves)()
        gradients = torch.autograd.grad(z, leaves, over(relevance, z.detach(), pass_.composite.stabilizer))
        return tuple(leaf.detach() * gradient for leaf, gradient in zip(leaves, gradients, strict=True))

    return replaced(call, backward, *inputs)


def _pass_on(_: Propagation, call: Call, signal: Tensor) -> Tensor:
    """Runs an operation with all but `signal` held constant; R_in = R_out, summed over broadcast dimensions."""
    return replaced(call.holding(signal), lambda relevance: (relevance.sum_to_size(signal.shape),), signal)


def _multiply(pass_: Propagation, call: Call) -> Any:
    """Runs a product or quotient; the signal gets all relevance, gates and denominators are held constant."""
    a, b = call.get(0, "input"), call.get(1, "other")
    active = [one for one in (a, b) if isinstance(one, Tensor) and one.requires_grad]
    if call.name == "div":
        return _pass_on(pass_, call, a) if a is active[0] else _gate(2)(pass_, call)
    if len(active) == 1:
        return _pass_on(pass_, call, active[0])
    signal = _signal(pass_, a, b)
    return call() if signal is None else _pass_on(pass_, call, signal)


def _signal(pass_: Propagation, a: Tensor, b: Tensor) -> Tensor | None:
    """Returns the factor of a product that is not a gate, by the operation that made it, else the larger; None if unclear."""
    if a is b:
        return None
    rank_a, rank_b = (int(pass_.gates.get(one) or 0) for one in (a, b))
    if rank_a != rank_b:
        return a if rank_a < rank_b else b
    return None if a.numel() == b.numel() else max(a, b, key=Tensor.numel)


def _product(pass_: Propagation, call: Call) -> Any:
    """Runs a matrix product; weights or attention weights (a softmax) are constant, so the other factor gets all relevance."""
    inputs = call.inputs
    if len(inputs) == 2:
        signal = [one for one in inputs if one not in pass_.gates]
        return pass_.proportional(call, signal[0]) if len(signal) == 1 else call()
    return pass_.proportional(call, inputs[0]) if len(inputs) == 1 else call()


def _attention(pass_: Propagation, call: Call) -> Any:
    """Runs softmax(q k^T) v with the attention weights held constant, so that all relevance goes to the values v."""
    value = call.get(2, "value")
    return pass_.proportional(call, value) if value.requires_grad else call()


def _multi_head(pass_: Propagation, call: Call) -> Any:
    """Runs multi-head attention as its single operations, so that each of them gets its rule."""
    with pass_.mode:
        return multi_head_attention(*call.args, **call.kwargs)


HANDLERS: Handlers = {
    "convolution": _weighted,
    "linear": _weighted,
    "batch_norm": _batch_norm,
    "normalize": _normalize,
    "response_norm": lambda pass_, call: _pass_on(pass_, call, call.main),  # what each channel is divided by is constant
    "relu": _activation,
    "activation": _activation,
    "squash": _activation,
    "softmax": _gate(2),
    "statistic": _gate(2),
    "add": _add,
    "multiply": _multiply,
    "average": lambda pass_, call: pass_.proportional(call, call.main),
    "product": _product,
    "attention": _attention,
    "multi_head_attention": _multi_head,
}
