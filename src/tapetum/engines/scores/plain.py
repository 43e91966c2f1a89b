"""Converts numbers of NumPy and torch in targets to Python numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from torch import Tensor

from tapetum.types import Concept, Region, Similarity


def plain_target(value: Any) -> Any:
    """Converts numbers of NumPy and torch to int and float, and arrays to lists, also inside targets; masks and directions stay
    tensors.
    """
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(map(plain_target, value))
    if isinstance(value, Region):
        return dataclasses.replace(value, label=plain_target(value.label))
    if isinstance(value, Concept):
        return dataclasses.replace(value, position=plain_target(value.position))
    if dataclasses.is_dataclass(value) and not isinstance(value, (type, Similarity)):
        return dataclasses.replace(
            value, **{one.name: plain_target(getattr(value, one.name)) for one in dataclasses.fields(value)}
        )
    return value


def plain_row(value: Any) -> Any:
    """Converts the target of one image; a list of one item, such as a row of a column of labels, becomes the item."""
    found = plain_target(value)
    return found[0] if isinstance(found, list) and len(found) == 1 else found
