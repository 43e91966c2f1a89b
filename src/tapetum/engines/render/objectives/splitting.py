"""Splits a model's answer of any type by groups of pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def split_answer(output: Any, size: int, groups: int) -> list[Any]:
    """Splits the answer for n = size x groups pictures into one answer per group of `size` pictures.

    Splits every tensor with n rows, also inside tuples, dicts and dataclasses, and every list of n items, as from detectors;
    everything else is the same in every part.
    """
    n = size * groups
    if isinstance(output, Tensor):
        return in_parts(output, size) if output.ndim and len(output) == n else [output] * groups
    if isinstance(output, Mapping):
        parts = {key: split_answer(value, size, groups) for key, value in output.items()}
        return [{key: part[i] for key, part in parts.items()} for i in range(groups)]
    if isinstance(output, (tuple, list)):
        if len(output) == n and not any(isinstance(one, Tensor) for one in output):
            return [output[i * size : (i + 1) * size] for i in range(groups)]
        each = [split_answer(one, size, groups) for one in output]
        return [[one[i] for one in each] for i in range(groups)]
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        names = [field.name for field in dataclasses.fields(output)]
        found = {name: split_answer(getattr(output, name), size, groups) for name in names}
        return [dataclasses.replace(output, **{name: found[name][i] for name in names}) for i in range(groups)]
    return [output] * groups


def in_parts(rows: Tensor, size: int) -> list[Tensor]:
    """Returns copies of a tensor's consecutive parts of `size` rows each."""
    return [one.clone() for one in rows.split(size)]
