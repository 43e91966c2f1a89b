"""Splits texts of mixed objectives, such as "blocks.3:5 - 0.5 * tabby", into terms with signs and factors.

A sign stands between spaces, so that "layer:3-5" stays a range and "t-shirt" a class. What is the name of a class stays whole:
of the terms that a text could have, the longest name wins.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

SIGN = re.compile(r"\s+([+-])\s+")
FIRST = re.compile(r"\s*([+-]?)\s*")
FACTOR = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*\*\s*(\S.*)", re.DOTALL)


@dataclass(frozen=True)
class Term:
    """One term of a mix: its sign, "+" or "-", its factor or None, and the text of its objective."""

    sign: str
    factor: float | None
    text: str


def terms(text: str, is_name: Callable[[str], bool]) -> list[Term]:
    """Returns the terms of a text; one term alone if it is no mix. `is_name` tells which texts name a class as they stand."""
    if is_name(text.strip()):
        return [Term("+", None, text.strip())]
    first = FIRST.match(text)
    assert first is not None  # it also matches nothing
    signs, start, found = SIGN.split(text[first.end() :].rstrip()), 0, list[Term]()
    parts, signs = signs[::2], [first[1] or "+", *signs[1::2]]
    while start < len(parts):
        for end in range(len(parts), start, -1):
            joined = parts[start] + "".join(f" {signs[i]} {parts[i]}" for i in range(start + 1, end))
            term = _term(signs[start], joined, is_name)
            if end == start + 1 or is_name(term.text):
                found.append(term)
                start = end
                break
    return found


def _term(sign: str, text: str, is_name: Callable[[str], bool]) -> Term:
    factor = None if is_name(text) else FACTOR.fullmatch(text)
    return Term(sign, None, text) if factor is None else Term(sign, float(factor[1]), factor[2].strip())
