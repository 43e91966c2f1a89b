"""Checks of the arguments that results' methods get: a choice, a range, a size, a row, a channel."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from typing import Any, cast

from torch import Tensor

from tapetum.types.refusals import MethodError, TapetumError


def checked_choice(value: Any, choices: Iterable[str], what: str) -> Any:
    """Returns the value if it is one of the choices; the error message calls it `what`."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise TapetumError(f"{what} is one of {', '.join(choices)}, not {value!r}")
    return value


def checked_range(value: float | int, low: float | int, high: float | int, what: str) -> None:
    """Refuses a number below `low` or above `high`; the error message calls it `what`."""
    if not low <= value <= high:
        raise MethodError(f"{what} is a number from {low:,} to {high:,}, not {value}")


def checked_size(size: Any) -> tuple[int, int]:
    """Returns (height, width) from a pair or from the side of a square; refuses sizes below one pixel."""
    try:
        sides = tuple(index(side) for side in ((size, size) if hasattr(size, "__index__") else size))
    except TypeError:
        sides = ()
    if len(sides) != 2 or min(sides) < 1 or isinstance(size, (str, bytes, bool)):
        raise TapetumError(f'a size is (height, width) in whole pixels from 1 up, or "input", not {size!r}')
    return sides


def rows_of(row: Any, n: int, what: str) -> slice[Any, Any, Any]:
    """Returns an index (negative ones count from the end) or a slice as a slice.

    An index out of range raises an `IndexError`, which also ends loops over rows.
    """
    if isinstance(row, slice):
        return cast("slice[Any, Any, Any]", row)
    number = index(row)
    if not -n <= number < n:
        raise IndexError(f"there is no {what} {number}: there are {n}, 0 to {n - 1}" if n else f"there is no {what} here")
    return slice(number % n, number % n + 1)


def cut(values: Tensor, rows: slice[Any, Any, Any], axis: int = 0) -> Tensor:
    """Returns some rows of a tensor along `axis`; slices that go backwards become lists, since torch refuses them."""
    taken = list(range(values.shape[axis])[rows]) if (rows.step or 1) < 0 else rows
    return values[(slice(None),) * axis + (taken,)]


def checked_channel(channel: int, channels: int, layer: str) -> int:
    """Returns the channel if the layer has it, and refuses it otherwise."""
    if not 0 <= channel < channels:
        raise TapetumError(f"{layer} has channels 0 to {channels - 1}, not {channel}")
    return channel


def listed(values: Tensor) -> list[Any]:
    """Returns `values.tolist()`; the cast gives type checkers a type."""
    return cast("Any", values).tolist()
