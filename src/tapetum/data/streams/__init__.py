"""Where a scan's pictures come from: folders, lists of files, tar shards, published data sets. `as_source` reads them all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

from tapetum.data.sources import is_address, shown
from tapetum.data.streams.base import Source
from tapetum.data.streams.folders import files, folder
from tapetum.types import ImageError

__all__ = ["Source", "as_source"]

_KNOWN = "a folder of pictures, a list of files"


def as_source(source: Any) -> Source:
    """The pictures meant by a folder (class folders give labels), a list of files, or a source."""
    if isinstance(source, Source):
        return source
    if isinstance(source, os.PathLike):
        return _from_path(os.fspath(cast("os.PathLike[str]", source)))
    if isinstance(source, str):
        return _from_text(source)
    if isinstance(source, Sequence) and all(isinstance(one, str | os.PathLike) for one in cast("Sequence[Any]", source)):
        return files(cast("Sequence[str]", source))
    raise ImageError(f"a {type(source).__name__} is no source of pictures; give {_KNOWN}")


def _from_text(text: str) -> Source:
    if is_address(text):
        raise ImageError(f"{shown(text)}: an address is no source of pictures; give {_KNOWN}")
    return _from_path(text)


def _from_path(path: str) -> Source:
    if os.path.isdir(path):
        return folder(path)
    if os.path.exists(path):
        return files([path])
    raise ImageError(f"{shown(path)}: no such folder or file; give {_KNOWN}")
