"""Keys and folders for work that can be resumed: a key identifies everything that results depend on."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tapetum.files import printable, table_in
from tapetum.keeping.places import removed, writable
from tapetum.keeping.whole import clear_leftovers, whole_folder, write_whole
from tapetum.types import DamagedError

MARK = "key.json"
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Key:
    """Facts that results depend on; a different model, data set, setting or schema of the files gives a different hash."""

    facts: Mapping[str, Any]
    schema: int | None = None

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of the facts, whatever their order."""
        schema = {} if self.schema is None else {"schema": self.schema}
        return hashlib.sha256(_text({**schema, **self.facts}).encode()).hexdigest()

    def difference(self, earlier: Mapping[str, Any]) -> str:
        """Returns the first fact that differs from the earlier ones, as "batch was 4, is 8"; "" if all are equal."""
        names = (name for name, value in self.facts.items() if _text(value) != _text(earlier.get(name)))
        return next((f"{name} was {_short(earlier.get(name))}, is {_short(self.facts[name])}" for name in names), "")

    def refusal(self, place: str, what: str, earlier: Mapping[str, Any]) -> str:
        """Returns the error message for a place that holds earlier work with another key; `what` names it, such as a scan."""
        why = self.difference(earlier) or "made by another version"
        return f"{place} holds another {what} ({why}); give another folder, or resume=False (--no-resume) to replace it"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _short(value: Any) -> str:
    text = printable(value)
    return text if len(text) <= 40 else f"{text[:24]}...{text[-12:]}"


class Kept:
    """Folder of finished pieces of some work; deletes earlier pieces with another key, or without `resume` all of them."""

    def __init__(self, folder: Path, key: Key, *, resume: bool = True) -> None:
        self.folder = folder
        with writable(folder):
            if not (resume and self._holds(key)):
                self._begin(key, resume=resume)

    def _holds(self, key: Key) -> bool:
        """Tells whether the folder is of this key, and if so clears up what a killed process has left in it."""
        if _key_in(self.folder) != key.hash:
            return False
        clear_leftovers(self.folder)
        return True

    def _begin(self, key: Key, *, resume: bool) -> None:
        """Puts an empty folder with its mark in place of any earlier one, but not of one that another process just began."""
        if self.folder.is_symlink() or not self.folder.is_dir():
            removed(self.folder)
        earlier = self.folder.exists()
        try:
            with whole_folder(self.folder, replaces=earlier) as work:
                (work / MARK).write_bytes(json.dumps({"key": key.hash}).encode())
        except OSError:
            if earlier or not (resume and self._holds(key)):
                raise

    def read(self, name: str, reader: Callable[[Path], T]) -> T | None:
        """Returns a piece as read by `reader`; None if it is missing or damaged, and has to be made."""
        with suppress(DamagedError):
            return reader(self.folder / name)
        return None

    def write(self, name: str, data: bytes) -> None:
        """Saves a piece, in place of a damaged one or of anything else that has its name."""
        path = self.folder / name
        with writable(path):
            if not path.is_file() or path.is_symlink():
                removed(path)
        write_whole(path, data)

    def forget(self) -> None:
        removed(self.folder)


def _key_in(folder: Path) -> str | None:
    if folder.is_symlink() or not folder.is_dir():
        return None
    with suppress(DamagedError):
        return table_in(folder / MARK).get("key")
    return None
