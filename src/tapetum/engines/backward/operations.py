"""Which torch functions are which operation: rules name the operation, code may spell it in many ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Operation = Literal["relu"]

_RELUS: frozenset[Callable[..., Any]] = frozenset(
    {F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6}
)
_CLAMPS: frozenset[Callable[..., Any]] = frozenset(
    {torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_, torch.clip, torch.clip_, Tensor.clip, Tensor.clip_}
)
_CLAMP_MINS: frozenset[Callable[..., Any]] = frozenset({torch.clamp_min, torch.clamp_min_, Tensor.clamp_min, Tensor.clamp_min_})
_HARDTANHS: frozenset[Callable[..., Any]] = frozenset({F.hardtanh, F.hardtanh_})
_THRESHOLDS: frozenset[Callable[..., Any]] = frozenset({F.threshold, vars(F)["threshold_"], torch.threshold, torch.threshold_})


def operation_of(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Operation | None:
    """ "relu" for every spelling of max(x, 0), also with an upper bound (ReLU6); None for anything else."""
    if function in _RELUS:
        return "relu"
    if function in _CLAMPS and _argument(args, kwargs, 1, "min") == 0:
        return "relu"
    if function in _CLAMP_MINS and _argument(args, kwargs, 1, "min") == 0:
        return "relu"
    if function in _HARDTANHS and _argument(args, kwargs, 1, "min_val", -1.0) == 0:
        return "relu"
    if function in _THRESHOLDS and _argument(args, kwargs, 1, "threshold") == 0 == _argument(args, kwargs, 2, "value"):
        return "relu"
    return None


def _argument(args: Sequence[Any], kwargs: Mapping[str, Any], position: int, name: str, default: Any = None) -> Any:
    value = args[position] if len(args) > position else kwargs.get(name, default)
    return value if isinstance(value, (int, float)) else None
