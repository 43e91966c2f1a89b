"""Reads the values of keywords from texts, for all that ask people instead of Python: the command line and the studio."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Any, Literal

from tapetum.registry import Parameter
from tapetum.types import TapetumError
from tapetum.types.text import split_names

FLAGS = {"n_steps": ("--n-steps", "--steps"), "maps": ("--map",), "budget_s": ("--budget",)}
"""{keyword: option flags} where the option's name differs from the keyword."""


def names_in(option: str, text: str) -> list[str]:
    """Splits a text at commas into names; refuses a text without any. `option` is its name in the error."""
    names = split_names(text)
    if not names:
        raise TapetumError(f"--{option} names nothing; give names with commas between")
    return names


def kinds_of(parameter: Parameter) -> set[Any]:
    """Returns the members of a parameter's union type, or its one type; a sequence such as list[str] is one member."""
    return _members(parameter.type)


def _members(hint: Any) -> set[Any]:
    united = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return set(typing.get_args(hint)) if united else {hint}


def type_of(parameter: Parameter) -> Any:
    """Returns the type in which a person gives a value: int, float, bool (also with None), a choice of words, else text."""
    if typing.get_origin(parameter.type) is Literal:
        return parameter.type
    kinds = kinds_of(parameter) - {type(None)}
    optional = type(None) in kinds_of(parameter)
    for kind, same in ((bool, {bool}), (int, {int}), (float, {float}), (float, {float, int})):
        if kinds == same:
            return kind | None if optional else kind
    return str | None if parameter.default is None else str


def as_value(parameter: Parameter, value: Any) -> Any:
    """Converts the text of a value.

    For a type such as `float | "blur"`, "0.5" becomes a number; a layer called "4" stays text. If the type allows a sequence,
    commas separate its members ("layer1,layer4"). "none" becomes None if the type allows it and the default is not None.
    """
    if not isinstance(value, str) or value in parameter.choices:
        return value
    kinds = kinds_of(parameter)
    if value == "none" and type(None) in kinds and parameter.default is not None:
        return None
    number = _number(value, kinds)
    sequences = [kind for kind in kinds if typing.get_origin(kind) in (Sequence, list, tuple)]
    inside = {one for kind in sequences for part in typing.get_args(kind) for one in _members(part)}
    if number is not None or Any in kinds or (str in kinds and not (str in inside and "," in value)):
        return value if number is None else number
    if not inside:
        return value
    parts = names_in(parameter.name, value)
    numbers = [_number(part, inside) for part in parts]
    return [part if found is None else found for part, found in zip(parts, numbers, strict=True)]


def _number(text: str, kinds: set[Any]) -> int | float | None:
    for kind in (int, float) if kinds & {int, float} else ():
        try:
            return kind(text)
        except ValueError:
            continue
    return None
