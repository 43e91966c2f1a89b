"""Converts targets from arrays to Python's own numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from torch import Tensor

from tapetum.types import Region, Similarity


def plain_target(value: Any) -> Any:
    """Converts numbers of numpy and torch to int and float, and arrays to lists, also inside targets, but not masks."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(map(plain_target, value))
    if isinstance(value, Region):
        return dataclasses.replace(value, label=plain_target(value.label))
    if dataclasses.is_dataclass(value) and not isinstance(value, (type, Similarity)):
        return dataclasses.replace(
            value, **{one.name: plain_target(getattr(value, one.name)) for one in dataclasses.fields(value)}
        )
    return value


def plain_row(value: Any) -> Any:
    """Converts one image's target; a list of one number, as in a column of labels, becomes that number."""
    found = plain_target(value)
    return found[0] if isinstance(found, list) and len(found) == 1 else found
