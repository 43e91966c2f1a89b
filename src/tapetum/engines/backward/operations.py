"""Which torch functions are which operation: rules name the operation, code may spell it in many ways.

`F.relu(x)`, `torch.relu(x)`, `x.relu_()`, `nn.ReLU(inplace=True)(x)` and `x.clamp(min=0)` are all "relu".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.models.operations.nested import tensors

Operation = Literal[
    "relu", "activation", "squash", "softmax", "statistic", "convolution", "linear", "product", "add", "multiply", "average",
    "batch_norm", "normalize", "response_norm", "attention", "multi_head_attention",
]  # fmt: skip

_NAMES: dict[Operation, str] = {
    "relu": "relu relu6",
    "activation": "gelu silu hardswish mish elu celu selu leaky_relu rrelu prelu softplus logsigmoid hardshrink softshrink "
    "neg negative",
    "squash": "sigmoid hardsigmoid tanh erf softsign hardtanh",  # bounded on both sides: what is used as a gate
    "softmax": "softmax",
    "statistic": "exp rsqrt sqrt reciprocal norm var std linalg_vector_norm rdiv rtruediv",
    "convolution": "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
    "linear": "linear",
    "product": "matmul mm bmm rmatmul einsum",
    "add": "add radd iadd sub rsub isub subtract addcmul",
    "multiply": "mul rmul imul multiply div truediv itruediv true_divide divide",
    "average": "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d mean sum "
    "interpolate upsample",
    "batch_norm": "batch_norm",
    "normalize": "layer_norm group_norm instance_norm rms_norm",
    "response_norm": "local_response_norm",
    "attention": "scaled_dot_product_attention",
    "multi_head_attention": "multi_head_attention_forward",
}
_OPERATIONS: dict[str, Operation] = {name: operation for operation, names in _NAMES.items() for name in names.split()}


def spelled(function: Callable[..., Any]) -> str:
    """The function's plain name: "relu" of `Tensor.relu_`, "add" of `Tensor.__add__`."""
    return getattr(function, "__name__", "").strip("_")


def operation_of(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Operation | None:
    """The operation that a call is; None for what only moves values about, and for anything else.

    "relu" is every spelling of max(x, 0), also with an upper bound (ReLU6).
    """
    name = spelled(function)
    if name in ("clamp", "clip", "clamp_min", "hardtanh", "threshold"):
        return _clamped(name, args, kwargs)
    return _OPERATIONS.get(name)


def _clamped(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Operation | None:
    if name == "threshold":
        return "relu" if _number(args, kwargs, 1, "threshold") == 0 == _number(args, kwargs, 2, "value") else None
    low = _number(args, kwargs, 1, "min_val", -1.0) if name == "hardtanh" else _number(args, kwargs, 1, "min")
    if low == 0:
        return "relu"
    high = _number(args, kwargs, 2, "max_val", 1.0) if name == "hardtanh" else _number(args, kwargs, 2, "max")
    return None if low is None or high is None else "squash"


def _number(args: Sequence[Any], kwargs: Mapping[str, Any], position: int, name: str, default: Any = None) -> Any:
    value = args[position] if len(args) > position else kwargs.get(name, default)
    return value if isinstance(value, (int, float)) else None


@dataclass(frozen=True, eq=False)
class Call:
    """One executed operation: what it is and what it works on. Calling it runs it."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    operation: Operation | None

    def __call__(self) -> Any:
        return self.function(*self.args, **self.kwargs)

    @property
    def name(self) -> str:
        return spelled(self.function)

    @property
    def active(self) -> bool:
        """Whether a backward pass will come through here."""
        return torch.is_grad_enabled() and bool(self.inputs)

    @property
    def inputs(self) -> list[Tensor]:
        """The operands that a backward pass will go on to, each once."""
        found = [one for one in tensors([self.args, self.kwargs]) if one.requires_grad]
        return [one for i, one in enumerate(found) if not any(one is other for other in found[:i])]

    def get(self, position: int, name: str, default: Any = None) -> Any:
        """An argument, given by place or by name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    @property
    def main(self) -> Tensor:
        return self.get(0, "input")

    def with_argument(self, position: int, name: str, value: Any) -> Call:
        """The same call on another argument."""
        if len(self.args) > position:
            return replace(self, args=(*self.args[:position], value, *self.args[position + 1 :]))
        return replace(self, kwargs={**self.kwargs, name: value})

    def on(self, operands: Sequence[Tensor], values: Sequence[Tensor]) -> Call:
        """The same call on other values in place of some operands."""
        by_id = {id(one): value for one, value in zip(operands, values, strict=True)}
        return replace(self, args=_swapped(self.args, by_id), kwargs=_swapped(self.kwargs, by_id))

    def holding(self, signal: Tensor) -> Call:
        """The same call with every operand but the signal held constant."""
        others = [one for one in self.inputs if one is not signal]
        return self.on(others, [one.detach() for one in others])


def _swapped(tree: Any, values: Mapping[int, Tensor]) -> Any:
    if isinstance(tree, dict):
        return {key: _swapped(one, values) for key, one in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)([_swapped(branch, values) for branch in tree])
    return values.get(id(tree), tree)


_AUGMENTED = {"__iadd__": "add", "__isub__": "sub", "__imul__": "mul", "__itruediv__": "div"}


def out_of_place(call: Call) -> Call | None:
    """The call that computes the same without overwriting its first argument; None where nothing is overwritten."""
    name = getattr(call.function, "__name__", "")
    if name in _AUGMENTED:
        return replace(call, function=getattr(torch, _AUGMENTED[name]))
    if name == "__setitem__":
        return replace(call, function=_with_item)
    if name.endswith("_") and not name.endswith("__"):
        plain = name.removesuffix("_")
        homes = [home for home in (Tensor, F, torch) if hasattr(home, plain)]
        return replace(call, function=getattr(homes[0], plain)) if homes else None
    position = _inplace_position(call.function)
    if position is not None and call.get(position, "inplace", False):
        return call.with_argument(position, "inplace", False)
    return None


def _with_item(x: Tensor, index: Any, value: Any) -> Tensor:
    changed = x.clone()
    changed[index] = value
    return changed


def _inplace_position(function: Callable[..., Any]) -> int | None:
    code = getattr(function, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code is not None else ()
    return names.index("inplace") if "inplace" in names else None
