"""Reads JSON that other people may have written; its size and depth are bounded."""

from __future__ import annotations

import json
import os
from typing import Any, cast

from tapetum.files.opening import contents
from tapetum.files.words import shown
from tapetum.types import DamagedError, TapetumError

LIMIT = 32_000_000
"""Largest size in bytes of a JSON file, unless its reader sets another limit."""

ROOM = 1_200_000_000
"""Largest size in bytes of parsed JSON: 32 MB of empty lists take 0.7 GB, names of a million pictures a tenth of that."""

DEPTH = 60
"""Deepest nesting of JSON that is accepted: tapetum's files have about ten levels, and their readers are recursive."""


def table_in(path: str | os.PathLike[str], limit: int = LIMIT, refusal: type[TapetumError] = DamagedError) -> dict[str, Any]:
    """Reads a file whose JSON must be an object; refuses other JSON, and files of more than `limit` bytes."""
    found = parsed(contents(path, limit, refusal), shown(path), refusal, limit)
    if not isinstance(found, dict):
        raise refusal(f"{shown(path)} is damaged: it holds no table")
    return cast("dict[str, Any]", found)


def parsed(text: str | bytes, name: str, refusal: type[TapetumError] = DamagedError, limit: int = LIMIT) -> Any:
    """Parses JSON and returns its value; errors begin with `name`."""
    if len(text) > limit or _room(text) > ROOM:
        raise refusal(f"{name} is damaged: JSON of more than {limit // 1_000_000} MB, or of too many parts")
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise refusal(f"{name} is damaged: its JSON has tables within tables, more than {DEPTH} deep") from error
    except ValueError as error:  # no JSON, no UTF-8, or a number with thousands of digits
        raise refusal(f"{name} is damaged: no JSON ({shown(error)})") from error
    if _is_deeper(value, DEPTH):
        raise refusal(f"{name} is damaged: its JSON has tables within tables, more than {DEPTH} deep")
    return value


def _room(text: str | bytes) -> int:
    """Upper bound, in bytes, of the memory that parsed JSON needs, estimated by counting brackets, commas and colons."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    signs = sum(data.count(sign) * n_bytes for sign, n_bytes in ((b"[", 100), (b"{", 250), (b",", 60), (b":", 130)))
    return len(data) * (3 if data.isascii() else 9) + signs


def _is_deeper(value: Any, depth: int) -> bool:
    """Returns whether lists and objects are nested more than `depth` deep; not recursive, since recursion has a limit too."""
    level: list[Any] = [[value]]
    for _ in range(depth + 1):
        parts = (part for one in level for part in (one.values() if isinstance(one, dict) else one))
        level = [part for part in parts if isinstance(part, (dict, list))]
    return bool(level)
