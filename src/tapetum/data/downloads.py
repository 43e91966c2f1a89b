"""Downloads files: a file appears under its name only when it is complete and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO
from urllib.request import Request, urlopen

from tapetum.keeping.whole import clear_leftovers, whole_file
from tapetum.progress import track

CHUNK = 1 << 20
TIMEOUT_S = 20


def download(url: str, path: Path, check: Callable[[Path], None], size: int | None = None) -> None:
    """Downloads an address to `path`; the file gets that name only after `check` accepts it, by raising nothing.

    Reports progress in bytes. Reads at most one byte more than `size`, or than the server announces: that is enough to see that
    a file is too long. Raises OSError where the network or the disk fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path.parent)
    with whole_file(path) as part:
        with part.open("wb") as out:
            _receive(url, out, size)
        check(part)


def _receive(url: str, out: BinaryIO, size: int | None) -> None:
    try:
        with urlopen(Request(url, headers={"User-Agent": "tapetum"}), timeout=TIMEOUT_S) as response:
            total = int(response.headers.get("Content-Length") or 0) if size is None else size
            for chunk in track(_read(response, total + 1 if total else None), total=total, unit="bytes", size=len):
                out.write(chunk)
    except HTTPException as error:  # the connection ended early
        raise ConnectionError(str(error)) from error


def _read(response: Any, left: int | None) -> Iterator[bytes]:
    while left != 0 and (chunk := response.read(CHUNK if left is None else min(CHUNK, left))):
        left = None if left is None else left - len(chunk)
        yield chunk


def md5_of(path: Path) -> str:
    """MD5 of a file in hex; it identifies a published file, but does not protect against forgery."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
