"""Writes values as text: tables of aligned columns, and one line for the value of any field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor

from tapetum.types.checks import listed

LONGEST = 60
"""Largest number of letters of one value in a line with several values."""

FEW = 8
"""Largest number of numbers of a tensor that are written out."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: bool = False) -> str:
    """Returns a table as text: aligned columns under their names; `right` aligns them to the right."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    align = str.rjust if right else str.ljust
    return "\n".join("  ".join(map(align, line, widths)).rstrip() for line in lines)


def split_names(text: str) -> list[str]:
    """Splits a text at its commas into names, without the space around them; skips empty ones."""
    return [name.strip() for name in text.split(",") if name.strip()]


def brief(value: Any) -> str:
    """Writes a value as one short line: a tensor as its shape, a long list as its length."""
    if isinstance(value, Tensor):
        return f"Tensor({', '.join(map(str, value.shape))})"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key!r}: {brief(one)}" for key, one in cast("Mapping[Any, Any]", value).items())
        return f"{{{inner}}}" if len(inner) <= LONGEST else f"{{{len(cast('Mapping[Any, Any]', value))} entries}}"
    if type(value) in (tuple, list):
        inner = ", ".join(map(brief, cast("Sequence[Any]", value)))
        return f"({inner})" if len(inner) <= LONGEST else f"({len(value)} entries)"
    line = " ".join(repr(value).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def in_words(value: Any) -> str:
    """Writes a value for a table: the numbers of a short tensor, the shape and range of a larger one."""
    if not isinstance(value, Tensor):
        return value if isinstance(value, str) and len(value) <= 2 * LONGEST else brief(value)
    sides = " x ".join(map(str, value.shape))
    if value.ndim == 1 and len(value) <= FEW:
        return ", ".join(f"{one:.4g}" for one in listed(value.float()))
    return f"{sides} from {float(value.min()):.4g} to {float(value.max()):.4g}" if value.numel() else sides


def as_text(shape: Sequence[int]) -> str:
    """Writes a size (height, width), or the last two sides of a shape, as "64 x 128"."""
    return f"{shape[-2]} x {shape[-1]}"


def dash(number: int | None) -> str:
    return "-" if number is None else str(number)
