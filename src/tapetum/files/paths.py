"""Checks names that files from others contain: each must be a plain name of something inside a known folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tapetum.files.words import shown
from tapetum.types import DamagedError

LONGEST = 255
_FORBIDDEN = frozenset('/\\:*?"<>|')
"""Characters that separate folders, or are forbidden in file names, on any system."""


def is_plain(name: Any) -> bool:
    """Returns whether a value is a plain name of one file or folder: no path, not hidden, printable, valid on any system."""
    return (
        isinstance(name, str)
        and name.isprintable()
        and not name.startswith((".", " "))
        and not name.endswith((".", " "))
        and not _FORBIDDEN.intersection(name)
        and 0 < len(name.encode("utf-8", "surrogatepass")) <= LONGEST
    )


def inside(folder: str | os.PathLike[str], *names: Any) -> Path:
    """Returns the path folder/name/name...; refuses names that are not plain, and links that lead out of the folder.

    The path need not exist.
    """
    root = Path(folder)
    for name in names:
        if not is_plain(name):
            raise DamagedError(f"{shown(folder)} is damaged: {shown(repr(name))} in it is no plain name of a file")
    path = root.joinpath(*names)
    real, top = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath([real, top]) != top:
        raise DamagedError(f"{shown(path)} is a link that leads out of {shown(folder)}; links are not followed")
    return path
