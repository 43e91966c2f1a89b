"""JSON from others: of a bounded size and depth, and with the types that its reader counts on."""

from __future__ import annotations

import json
import os
from typing import Any, cast

from tapetum.files.opening import contents
from tapetum.files.words import shown
from tapetum.types import DamagedError, TapetumError

LIMIT = 32_000_000
"""Bytes: the worst of that size (empty lists) takes 0.7 GB as objects."""

DEPTH = 60
"""Tables within tables: ours have some ten. Readers go down by calling themselves."""


def table_in(path: str | os.PathLike[str], limit: int = LIMIT, refusal: type[TapetumError] = DamagedError) -> dict[str, Any]:
    """The JSON object in a file."""
    found = parsed(contents(path, limit, refusal), shown(path), refusal)
    if not isinstance(found, dict):
        raise refusal(f"{shown(path)} is damaged: it holds no table")
    return cast("dict[str, Any]", found)


def parsed(text: str | bytes, name: str, refusal: type[TapetumError] = DamagedError) -> Any:
    """The value of a JSON text; refusals begin with `name`."""
    if len(text) > LIMIT:
        raise refusal(f"{name} is damaged: JSON of more than {LIMIT // 1_000_000} MB")
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise refusal(f"{name} is damaged: its JSON has tables within tables, more than {DEPTH} deep") from error
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise refusal(f"{name} is damaged: no JSON ({shown(error)})") from error
    if _is_deeper(value, DEPTH):
        raise refusal(f"{name} is damaged: its JSON has tables within tables, more than {DEPTH} deep")
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    """Level by level, without calling itself."""
    level: list[Any] = [value]
    for _ in range(depth):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += [part for part in one.values() if isinstance(part, (dict, list))]
            elif isinstance(one, list):
                below += [part for part in one if isinstance(part, (dict, list))]
        if not below:
            return False
        level = below
    return True
