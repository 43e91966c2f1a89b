"""Handles further inputs of a network beside the images: one row for each image that is explained, or one row for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tapetum.types import ModelError

Extra = Mapping[str, Tensor]
"""{keyword of a further input: its rows (n, ...)}."""


def checked_extra(given: Any) -> dict[str, Tensor]:
    """Returns the further inputs, {keyword of the network: tensor or array}, as tensors, if all have n rows or one."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ModelError(f"extra is a mapping of names to rows, extra={{'age': ages}}, not {type(given).__name__}")
    found = {name: _rows(name, one) for name, one in given.items()}
    if len({len(one) for one in found.values()} - {1}) > 1:
        counts = ", ".join(f"{name} {len(one)}" for name, one in found.items())
        raise ModelError(f"the further inputs have different numbers of rows ({counts}): one per image each, or one for all")
    return found


def _rows(name: Any, given: Any) -> Tensor:
    if not isinstance(name, str) or not name.isidentifier():
        raise ModelError(f"a further input goes to the network by its keyword, and {name!r} is none")
    if not isinstance(given, (Tensor, np.ndarray)) or (isinstance(given, np.ndarray) and given.dtype.kind not in "biuf"):
        raise ModelError(f"the further input '{name}' is a tensor or an array of numbers (n, ...), not {type(given).__name__}")
    rows = torch.as_tensor(given).detach()
    if rows.ndim == 0 or len(rows) == 0:
        raise ModelError(f"the further input '{name}' has no rows: give (n, ...), one per image, or (1, ...) for all")
    return rows


def beside(extra: Extra, rows: Sequence[int] | None, n: int, like: Tensor) -> dict[str, Tensor]:
    """Returns each further input's rows for a pass of n images, on the device of `like`.

    `rows` are the indices of the explained images from which the pass was made; None: one row per image, in order. A single
    index serves all n images, as when they are variants of one image; so does an input that has only one row.
    """
    return {name: _placed(_chosen(name, one, rows, n), like) for name, one in extra.items()}


def _chosen(name: str, values: Tensor, rows: Sequence[int] | None, n: int) -> Tensor:
    if rows is None:
        check_rows({name: values}, n)
    wanted = [0] if len(values) == 1 else range(n) if rows is None else rows
    return values[list(wanted)].expand(n, *values.shape[1:])


def check_rows(extra: Extra, n: int) -> None:
    """Refuses further inputs whose number of rows is neither 1 nor n, the number of images."""
    for name, values in extra.items():
        if len(values) not in (1, n):
            raise ModelError(
                f"the further input '{name}' has {len(values)} rows, and the network is asked about {n} images: give one row "
                "per image that is explained, or one for all"
            )


def _placed(values: Tensor, like: Tensor) -> Tensor:
    """Moves values to the device of `like`; floating point values also to its type."""
    return values.to(like.device, like.dtype) if values.is_floating_point() else values.to(like.device)


def refuse_extra(extra: Extra, what: str, name: str) -> None:
    """Refuses a method, `what`, that works on images other than the explained ones, if further inputs have a row per image."""
    if any(len(one) > 1 for one in extra.values()):
        raise ModelError(
            f"{name} has further inputs ({', '.join(extra)}) that belong to certain images, and {what} others: give one row "
            "for all, shape (1, ...)"
        )
