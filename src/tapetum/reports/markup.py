"""Builds HTML in which texts and attributes are always escaped unless they are `Markup`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

VOID = {"br", "img", "input", "meta"}


class Markup(str):
    """Text that is already HTML and is not escaped again."""

    __slots__ = ()


def text(value: Any) -> Markup:
    """Converts a value to escaped HTML text; `Markup` stays unchanged, None becomes "", items of a list are joined."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return Markup("".join(text(part) for part in value))
    return Markup(escape(str(value)))


def tag(element: str, /, *children: Any, **attributes: Any) -> Markup:
    """Makes one HTML element; `class_` becomes class, `aria_label` aria-label. None and False are left out, True is bare."""
    present = {key: value for key, value in attributes.items() if value is not None and value is not False}
    written = "".join(_attribute(key, value) for key, value in present.items())
    if element in VOID:
        return Markup(f"<{element}{written}>")
    return Markup(f"<{element}{written}>{text(children)}</{element}>")


def _attribute(key: str, value: Any) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
