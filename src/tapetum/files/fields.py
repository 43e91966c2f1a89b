"""Checks that values from a file fit the type annotations of a result's fields."""

from __future__ import annotations

import dataclasses
import functools
import sys
import typing
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast

from tapetum import types

LARGEST = 1 << 64
"""Bound for whole numbers in files, above every index, count and seed that tapetum writes."""


def misfit(kind: type, values: Mapping[str, Any]) -> str:
    """Returns what is wrong with the fields of a result, in words; "" if all are present and of their annotated types."""
    hints = _hints(kind)
    for name in values:
        if name not in hints:
            return f"{kind.__name__} has no field {name!r}"
    for name, hint in hints.items():
        if name not in values:
            return f"{kind.__name__} without its field {name!r}"
        if not fits(values[name], hint):
            return f"{kind.__name__}.{name} is {_said(values[name])}, not {_words(hint)}"
    return _uneven(kind, values)


def _uneven(kind: type, values: Mapping[str, Any]) -> str:
    """Returns, in words, which field's shape disagrees with the other fields; "" if all agree."""
    known: dict[str, tuple[int, str]] = {}
    for field in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
        axes, value = field.metadata.get("axes", "").split(), values[field.name]
        if not axes or value is None or (value == () and field.default == ()):
            continue
        for one in value.values() if isinstance(value, Mapping) else (value,):
            sides = (len(one),) if isinstance(one, tuple) else tuple(one.shape)
            named = [*axes[:-1], *["_"] * (len(sides) - len(axes) + 1)] if axes[-1] == "..." else axes
            if len(sides) != len(named):
                return f"{kind.__name__}.{field.name} has the shape {sides}, not ({' '.join(axes)})"
            for axis, side in zip(named, sides, strict=True):
                first, where = known.setdefault(axis, (side, field.name))
                if axis != "_" and first != side:
                    return f"{kind.__name__} has {first} {where}, {side} {field.name} along {axis}"
    return ""


def fits(value: Any, hint: Any) -> bool:
    """Returns whether a value, with everything that it contains, fits a type; an int fits float, a bool fits no number."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        row = cast("tuple[Any, ...]", value)
        each = [inner[0]] * len(row) if len(inner) == 2 and inner[1] is ... else list(inner)
        return len(row) == len(each) and all(map(fits, row, each))
    if origin is Mapping:
        pairs = cast("Mapping[Any, Any]", value).items() if isinstance(value, Mapping) else None
        return pairs is not None and all(fits(key, inner[0]) and fits(one, inner[1]) for key, one in pairs)
    if hint in (int, float):
        whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST
        return whole or (hint is float and isinstance(value, float))
    return isinstance(value, NoneType if hint is None else hint)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """Returns {field: type} of a class; names in annotations are looked up in the modules of its bases, then in all types."""
    known = dict(vars(types))
    for base in reversed(kind.__mro__):
        known |= vars(sys.modules[base.__module__])
    found = typing.get_type_hints(kind, known)
    fields = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else list(found)
    return {name: found[name] for name in fields}


def _said(value: Any) -> str:
    if value is None or isinstance(value, (bool, int, float, str)):
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:40]}..."
    return f"a {type(value).__name__}"


def _words(hint: Any) -> str:
    if hint is None or hint is NoneType:
        return "None"
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_words, parts))
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(str, parts))
    text = str(hint)
    return "a tuple of its kind" if text.startswith("tuple") else "a table of its kind"
