"""Protocol of all results: rows like a list, text for print, a one-line repr, a picture in notebooks, a name in files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, replace
from importlib import import_module
from typing import Any, ClassVar, SupportsIndex, TypeVar, cast

import torch
from torch import Tensor

from tapetum.types.checks import cut, rows_of
from tapetum.types.text import brief, in_words, table

R = TypeVar("R", bound="Result")
T = TypeVar("T", bound=type)

kinds: dict[str, type] = {}
"""{name: class} of all classes that a saved file may name: results, their parts and targets."""


def saved(kind: T) -> T:
    """Registers a class under its name, so that saved files can name it.

    The first class of a name keeps it; another class of that name cannot be saved.
    """
    kinds.setdefault(kind.__name__, kind)
    return kind


def axes(names: str) -> dict[str, str]:
    """Returns the metadata of a field: names of its axes, "_" for any axis, "..." for any more. Axis n has an entry per row."""
    return {"axes": names}


WHOLE = {"whole": True}
"""Metadata of a field that describes all rows together: in a selection of rows, the field has its default."""

PARTS = {"parts": True}
"""Metadata of a field whose elements are the rows of the result; each is a result or a part."""


@dataclass(frozen=True, eq=False)
class Result:
    """Base of all results, which are frozen dataclasses: indexing a row gives a result of the same kind.

    In a row, fields with an axis n are cut to it; the others are shared (`axes`, `WHOLE`). Where the elements of one field
    are the rows (`PARTS`), a slice is a tuple of elements. A result without rows is its own only row.
    """

    alone: ClassVar[type[Any] | None] = None
    """Class of the rows, where it is a simpler one than the class of the whole result."""

    def __init_subclass__(cls, kept: bool = True) -> None:
        super().__init_subclass__()
        cls.__repr__ = Result.__repr__  # otherwise `dataclass` adds a __repr__ that prints whole tensors
        if kept:
            saved(cls)

    def __len__(self) -> int:
        parts = self._parts()
        return _count(self) if parts is None else len(parts)

    def __getitem__(self: R, row: SupportsIndex | slice) -> R | Any:
        rows, parts = rows_of(row, len(self), "row"), self._parts()
        if parts is None:
            return _cut(self, rows)
        return parts[rows] if isinstance(row, slice) else parts[rows][0]

    def __iter__(self: R) -> Iterator[R | Any]:
        return (self[row] for row in range(len(self)))

    def __str__(self) -> str:
        return table((type(self).__name__, ""), [(one.name, in_words(value)) for one, value in self._told()])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{one.name}={brief(value)}' for one, value in self._told())})"

    def _repr_html_(self) -> str:
        """HTML of the result's figure, for notebooks.

        `tapetum.figures` imports this package, so it is imported here at the first call.
        """
        return import_module("tapetum.figures").html(self)

    def _parts(self) -> tuple[Any, ...] | None:
        """Rows that are the elements of one field, or the result itself; None where rows are cut out of the fields."""
        known = fields(type(self))
        if any(_row_axis(one) is not None for one in known):
            return None
        return next((tuple(getattr(self, one.name)) for one in known if "parts" in one.metadata), (self,))

    def _told(self) -> list[tuple[Field[Any], Any]]:
        """Pairs of a field and its value to print, without empty fields."""
        pairs = ((one, getattr(self, one.name)) for one in fields(type(self)) if one.repr)
        return [(one, value) for one, value in pairs if isinstance(value, (Tensor, Result)) or value not in (None, (), {}, "")]


def joined(parts: Sequence[R]) -> R:
    """Joins the rows of several results of one kind; fields that rows share come from the first result."""

    def together(axis: int, values: Sequence[Any]) -> Any:
        if isinstance(values[0], Tensor):
            return torch.cat(list(values), axis)
        if isinstance(values[0], Mapping):
            names = cast("Mapping[Any, Any]", values[0])
            return {name: together(axis, [value[name] for value in values]) for name in names}
        return None if values[0] is None else tuple(row for value in values for row in value)

    along = {one.name: axis for one in fields(parts[0]) if (axis := _row_axis(one)) is not None}
    return replace(parts[0], **{name: together(axis, [getattr(one, name) for one in parts]) for name, axis in along.items()})


def _row_axis(one: Field[Any]) -> int | None:
    """Index of the axis of a field along which rows lie; None if the rows share the field."""
    names = one.metadata.get("axes", "").split()
    return names.index("n") if "n" in names else None


def _count(result: Result) -> int:
    """Number of rows: the length of the first axis n; 0 without any."""
    for one in fields(type(result)):
        axis, value = _row_axis(one), getattr(result, one.name)
        if axis is not None and value is not None:
            return value.shape[axis] if isinstance(value, Tensor) else len(value)
    return 0


def _cut(result: R, rows: slice[Any, Any, Any]) -> R:
    kind = result.alone or type(result)
    return kind(**{one.name: _cut_field(one, getattr(result, one.name), rows) for one in fields(kind)})


def _cut_field(one: Field[Any], value: Any, rows: slice[Any, Any, Any]) -> Any:
    if one.metadata.get("whole"):
        return one.default if one.default_factory is MISSING else one.default_factory()
    axis = _row_axis(one)
    if axis is None or value is None:
        return value
    if isinstance(value, Mapping):
        return {name: _cut_field(one, part, rows) for name, part in cast("Mapping[Any, Any]", value).items()}
    return cut(value, rows, axis) if isinstance(value, Tensor) else value[rows]
