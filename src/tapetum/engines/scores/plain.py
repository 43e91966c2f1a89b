"""Targets that come out of arrays, as Python's own numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from torch import Tensor

from tapetum.types import Region, Similarity


def plain(value: Any) -> Any:
    """numpy's and torch's numbers become int and float, arrays lists; inside targets, too, but for masks and likenesses."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(map(plain, value))
    if isinstance(value, Region):
        return dataclasses.replace(value, label=plain(value.label))
    if dataclasses.is_dataclass(value) and not isinstance(value, (type, Similarity)):
        return dataclasses.replace(value, **{one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)})
    return value


def plain_row(value: Any) -> Any:
    """One image's target; a list of one number, as a column of labels has, is that number."""
    found = plain(value)
    return found[0] if isinstance(found, list) and len(found) == 1 else found
