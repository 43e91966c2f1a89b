"""One torch operation as a network executes it: its kind and its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tapetum.models.operations.kinds import OPERATIONS, Operation
from tapetum.models.operations.names import out_of_place, spelled
from tapetum.models.operations.nested import mapped, tensors


@dataclass(frozen=True, eq=False)
class Call:
    """Torch function with its arguments; calling the object runs the function."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __call__(self) -> Any:
        return self.function(*self.args, **self.kwargs)

    @cached_property
    def name(self) -> str:
        """Plain name of the operation; a division that rounds is "floor_divide"."""
        name = spelled(self.function)
        return "floor_divide" if name == "div" and self.kwargs.get("rounding_mode") else name

    @cached_property
    def operation(self) -> Operation | None:
        """Kind of the operation, as backward rules know it; None for any other, as for operations that only move values.

        "relu" is every spelling of max(x, 0), also with an upper bound (ReLU6).
        """
        match self.name:
            case "threshold":
                return "relu" if self._number(1, "threshold") == 0 == self._number(2, "value") else None
            case "hardtanh":
                return _bounded(self._number(1, "min_val", -1.0), self._number(2, "max_val", 1.0))
            case "clamp" | "clamp_min":
                return _bounded(self._number(1, "min"), self._number(2, "max"))
        return OPERATIONS.get(self.name)

    def _number(self, position: int, name: str, default: Any = None) -> Any:
        value = self.get(position, name, default)
        return value if isinstance(value, (int, float)) else None

    # --- arguments

    def get(self, position: int, name: str, default: Any = None) -> Any:
        """Returns an argument, whether it was passed by position or by name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    @property
    def main(self) -> Any:
        """First argument of the call, which most operations act on."""
        return self.get(0, "input")

    @property
    def tensors(self) -> list[Tensor]:
        """Tensors among the arguments, in order; one that is passed twice counts twice."""
        return list(tensors((self.args, self.kwargs)))

    @property
    def signals(self) -> list[Tensor]:
        """Tensors among the arguments that require a gradient; one that is passed twice counts twice."""
        return [one for one in self.tensors if one.requires_grad]

    @property
    def inputs(self) -> list[Tensor]:
        """Tensors among the arguments that require a gradient, each once."""
        return list({id(one): one for one in self.signals}.values())

    @property
    def active(self) -> bool:
        """Checks whether a backward pass will come through this call: gradients are on, and an argument requires one."""
        return torch.is_grad_enabled() and any(one.requires_grad for one in self.tensors)

    # --- the same call with other arguments

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Call:
        """Returns the call with `function` applied to every tensor among its arguments."""
        args, kwargs = mapped((self.args, self.kwargs), function)
        return replace(self, args=args, kwargs=kwargs)

    def on(self, operands: Sequence[Tensor], values: Sequence[Tensor]) -> Call:
        """Returns the call with `values` in place of the tensors `operands`."""
        by_id = {id(one): value for one, value in zip(operands, values, strict=True)}
        return self.mapped(lambda tensor: by_id.get(id(tensor), tensor))

    def with_signals(self, *values: Tensor) -> Call:
        """Returns the call with these values in place of its `signals`, in order."""
        rest = iter(values)
        return self.mapped(lambda tensor: next(rest) if tensor.requires_grad else tensor)

    def holding(self, signal: Tensor) -> Call:
        """Returns the call with every input but `signal` detached, so that a backward pass reaches only `signal`."""
        others = [one for one in self.inputs if one is not signal]
        return self.on(others, [one.detach() for one in others])

    def pure(self) -> Call | None:
        """Returns the same call out of place; None if this one does not overwrite its first argument."""
        function = out_of_place(self.function)
        if function is not None:
            return replace(self, function=function)
        position = _inplace_position(self.function)
        if position is None or not self.get(position, "inplace", False):
            return None
        if len(self.args) > position:
            return replace(self, args=(*self.args[:position], False, *self.args[position + 1 :]))
        return replace(self, kwargs={**self.kwargs, "inplace": False})


def _bounded(low: Any, high: Any) -> Operation | None:
    if low == 0:
        return "relu"
    return None if low is None or high is None else "squash"


def _inplace_position(function: Callable[..., Any]) -> int | None:
    code = getattr(function, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code is not None else ()
    return names.index("inplace") if "inplace" in names else None
