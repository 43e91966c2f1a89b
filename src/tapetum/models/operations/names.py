"""Gives each torch operation one plain name for all its spellings, and says which spellings work in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_OPERATORS = {
    "iadd": "add", "isub": "sub", "imul": "mul", "imatmul": "matmul", "idiv": "div", "itruediv": "div",
    "ifloordiv": "floor_divide", "imod": "remainder", "ipow": "pow", "iand": "and", "ior": "or", "ixor": "xor",
    "ilshift": "lshift", "irshift": "rshift",
}  # fmt: skip
"""{in-place operator, as "iadd" for `__iadd__`: plain name of its operation}."""

_SYNONYMS = {
    "add": "radd", "sub": "subtract", "mul": "rmul multiply", "div": "truediv true_divide divide", "rdiv": "rtruediv",
    "floor_divide": "floordiv", "rfloor_divide": "rfloordiv", "remainder": "mod", "neg": "negative", "abs": "absolute",
    "clamp": "clip", "cat": "concat concatenate", "transpose": "swapaxes swapdims", "movedim": "moveaxis",
    "logsigmoid": "log_sigmoid", "sigmoid": "special_expit", "erf": "special_erf", "erfc": "special_erfc",
    "expm1": "special_expm1", "exp2": "special_exp2", "log1p": "special_log1p", "round": "special_round",
    "softmax": "special_softmax", "log_softmax": "special_log_softmax", "vector_norm": "linalg_vector_norm",
    "matmul": "linalg_matmul",
}  # fmt: skip
"""{plain name: other names of the same operation, which take the same arguments in the same order}."""

_PLAIN = _OPERATORS | {name: plain for plain, names in _SYNONYMS.items() for name in names.split()}


def spelled(function: Callable[..., Any]) -> str:
    """Plain name of a function or attribute: "relu" for `Tensor.relu_`, "add" for `__iadd__` and `__radd__`, "mT" for `x.mT`.

    Operators with swapped operands have names of their own where the order matters: "rsub", "rdiv", "rpow", "rmatmul".
    """
    name = getattr(function, "__name__", "")
    if name == "__get__":
        name = getattr(getattr(function, "__self__", None), "__name__", "")
    bare = name.strip("_")
    return _PLAIN.get(bare, bare)


def in_place(function: Callable[..., Any]) -> bool:
    """Checks whether a function overwrites its first argument, by its name, such as `relu_`, `__iadd__`, `__setitem__`."""
    name = getattr(function, "__name__", "")
    if name.startswith("__") and name.endswith("__"):
        return name == "__setitem__" or name.strip("_") in _OPERATORS
    return name.endswith("_")


def out_of_place(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """Returns the out-of-place version of an in-place function; None for another function, or where torch has none."""
    if not in_place(function):
        return None
    if function.__name__ == "__setitem__":
        return _with_item
    found = (getattr(home, spelled(function), None) for home in (Tensor, F, torch))
    return next(filter(callable, found), None)


def _with_item(x: Tensor, index: Any, value: Any) -> Tensor:
    changed = x.clone()
    changed[index] = value
    return changed
