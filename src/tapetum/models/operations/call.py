"""One executed operation: what it is and what it works on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tapetum.models.operations.names import out_of_place, spelled
from tapetum.models.operations.nested import mapped, tensors
from tapetum.models.operations.tables import OPERATIONS, Operation


@dataclass(frozen=True, eq=False)
class Call:
    """A torch function with its arguments. Calling it runs it."""

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
        """Kind of the operation; None for what only moves values about, and for anything else.

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
        """An argument, given by place or by name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    @property
    def main(self) -> Any:
        """The first argument."""
        return self.get(0, "input")

    @property
    def tensors(self) -> list[Tensor]:
        """List of the tensors among the arguments, each as often as it stands there."""
        return list(tensors((self.args, self.kwargs)))

    @property
    def signals(self) -> list[Tensor]:
        """The tensors that a backward pass goes on to, as often as they stand there."""
        return [one for one in self.tensors if one.requires_grad]

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors that a backward pass goes on to, each once."""
        return list({id(one): one for one in self.signals}.values())

    @property
    def active(self) -> bool:
        """Whether a backward pass will come through here."""
        return torch.is_grad_enabled() and any(one.requires_grad for one in self.tensors)

    # --- the same call, otherwise

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Call:
        """This call on what `function` makes of every tensor."""
        args, kwargs = mapped((self.args, self.kwargs), function)
        return replace(self, args=args, kwargs=kwargs)

    def on(self, operands: Sequence[Tensor], values: Sequence[Tensor]) -> Call:
        """This call on other values in place of some operands."""
        by_id = {id(one): value for one, value in zip(operands, values, strict=True)}
        return self.mapped(lambda tensor: by_id.get(id(tensor), tensor))

    def with_signals(self, *values: Tensor) -> Call:
        """This call on these values, one for each of `signals`."""
        rest = iter(values)
        return self.mapped(lambda tensor: next(rest) if tensor.requires_grad else tensor)

    def holding(self, signal: Tensor) -> Call:
        """This call with every operand but the signal held constant."""
        others = [one for one in self.inputs if one is not signal]
        return self.on(others, [one.detach() for one in others])

    def pure(self) -> Call | None:
        """The call that computes the same without overwriting its first argument; None where nothing is overwritten."""
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
