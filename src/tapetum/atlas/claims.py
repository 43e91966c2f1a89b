"""Checks the content of an atlas's manifest.json and of its maps' tables.

Atlases are passed on to others, so these files may contain anything. Fields of a wrong type, and file names that are paths, are
refused with a one-line error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tapetum.files import inside, is_plain, shown, table_in
from tapetum.models.zoo.named import is_number
from tapetum.types import DamagedError

MANIFEST = "manifest.json"
SCHEMA = 1
LARGEST = 400_000_000
"""Largest size in bytes of a manifest, which names every skipped picture."""
SHEETS = 20_000
"""Largest number of sheets of one kind."""

Fits = Callable[[Any], bool]


def manifest_in(folder: str | Path) -> dict[str, Any]:
    """Returns the manifest of an atlas; refuses fields of a wrong type. The manifest of an unfinished build may lack fields."""
    said = table_in(inside(folder, MANIFEST), LARGEST)
    _check({name: fits for name, fits in FIELDS.items() if name in said}, said, Path(folder) / MANIFEST)
    return said


def check_finished(said: Mapping[str, Any], folder: str | Path) -> None:
    """Refuses the manifest of a build that stopped before its store was finished."""
    lacking = [name for name in NEEDED if name not in said]
    if lacking:
        raise DamagedError(f"{shown(folder)} holds an unfinished atlas (no {lacking[0]}): the same build goes on with it")


def map_in(folder: Path, file: str, pictures: int) -> dict[str, Any]:
    """Reads and checks the table of a layer's map; refuses picture numbers of `pictures` or above."""
    path = inside(folder, f"{file}.json")
    said = table_in(path)
    _check(MAP, said, path)
    if any(picture >= pictures for cell in said["cells"] for picture in cell["pictures"]):
        raise DamagedError(f"{shown(path)} is damaged: it shows pictures that the atlas does not have")
    return said


def is_sprite(value: Any) -> bool:
    """Checks whether a value describes sheets of tiles: tile size, columns and rows, and the sheets' plain file names."""
    return (
        isinstance(value, dict)
        and value.keys() == {"tile", "columns", "rows", "sheets"}
        and all(_is_whole(value[name]) and 0 < value[name] <= 4096 for name in ("tile", "columns", "rows"))
        and isinstance(value["sheets"], list)
        and len(value["sheets"]) <= SHEETS
        and all(is_plain(name) and name.endswith(".webp") for name in value["sheets"])
    )


def _check(fields: Mapping[str, Fits], said: Mapping[str, Any], path: Path) -> None:
    """Refuses a table with a missing field or a field of a wrong type."""
    for name, fits in fields.items():
        if not fits(said.get(name)):
            raise DamagedError(f"{shown(path)} is damaged: its {name} is {shown(repr(said.get(name))[:200])}")


# --- types of fields


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and is_number(value, 0, 1 << 53)


def _or_none(fits: Fits) -> Fits:
    return lambda value: value is None or fits(value)


def _list(fits: Fits) -> Fits:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _table(fits: Fits) -> Fits:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _with(**fields: Fits) -> Fits:
    """Returns a check that a value is a table with at least these fields."""
    return lambda value: isinstance(value, dict) and all(fits(value.get(name)) for name, fits in fields.items())


def _pairs(first: Fits) -> Fits:
    """Returns a check that a value is None or a list of pairs, each of a name or number and a numeric value."""
    return _or_none(_list(lambda pair: isinstance(pair, list) and len(pair) == 2 and first(pair[0]) and is_number(pair[1])))


def _size(value: Any) -> bool:
    return _list(_is_whole)(value) and len(value) == 2


def _is_named(value: Any) -> bool:
    """Checks whether a value is the name of a unit: channel, name, AUC, p-value."""
    return (
        isinstance(value, list)
        and len(value) == 4
        and _is_whole(value[0])
        and _text(value[1])
        and all(is_number(one, 0, 1) for one in value[2:])
    )


def _is_check(value: Any) -> bool:
    """Checks whether a value is the check of a unit's picture: channel, sentence, whether it is flagged."""
    return (
        isinstance(value, list) and len(value) == 3 and _is_whole(value[0]) and _text(value[1]) and isinstance(value[2], bool)
    )


is_checks = _with(said=_text, units=_list(_is_check))
"""Checks whether a value holds the checks of a layer's pictures."""

FIELDS: Mapping[str, Fits] = {
    "schema": _is_whole,
    "stages": _table(_with(key=_text)),
    "title": _text,
    "model": _with(
        name=_text, source=_text, weights=_text, weights_sha256=_text, sees=_text, size=_size, classes=_or_none(_is_whole)
    ),
    "data": _with(name=_text, pictures=_is_whole, fingerprint=_text),
    "made": _text,
    "versions": _table(_text),
    "machine": _text,
    "score": _text,
    "settings": _with(weights=_text, preprocessing=_text),
    "taps": _table(_text),
    "units": _table(_is_whole),
    "skipped": _table(_text),
    "notes": _list(_text),
    "names": _table(_with(said=_text, units=_list(_is_named))),
    "not_named": _or_none(_text),
    "chosen": _with(layers=_list(_text), said=_text),
    "rendered": _table(_with(positive=_or_none(is_sprite), negative=_or_none(is_sprite))),
    "not_rendered": _table(_text),
    "checks": _table(is_checks),
    "maps": _table(_text),
    "not_mapped": _table(_text),
}
NEEDED = ("title", "model", "data", "made", "versions", "score", "settings", "units", "skipped", "notes")
"""Fields that the pages show, written with the store."""

_CELL = _with(
    row=_is_whole,
    column=_is_whole,
    count=_is_whole,
    tile=_is_whole,
    labels=_pairs(_text),
    units=_pairs(_is_whole),
    pictures=_list(_is_whole),
    supports=_pairs(_text),
)

MAP: Mapping[str, Fits] = {
    "store": _text,
    "grid": _size,
    "layout": _text,
    "positions": _is_whole,
    "cells": _list(_CELL),
    "classes": _or_none(_list(lambda row: isinstance(row, list) and bool(row) and _text(row[0]) and all(map(_size, row[1:])))),
    "sprite": _or_none(is_sprite),
    "notes": _list(_text),
}
