"""Opens files without ever waiting for another program to write into them, and reads them up to a limit."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from tapetum.files.words import shown
from tapetum.switches import during
from tapetum.types import DamagedError, TapetumError

LIMIT = 1_000_000_000
"""Largest size in bytes of a file that is read whole, unless its reader sets another limit."""

HASHED = 8_000_000_000
"""Largest size in bytes of a file whose checksum is computed, which takes some seconds."""

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

_closed: ContextVar[bool] = ContextVar("tapetum_files_closed", default=False)


@contextlib.contextmanager
def closed() -> Iterator[None]:
    """Refuses to open any file by its name inside the block: for work on what a visitor typed."""
    with during(_closed, True):
        yield


def are_closed() -> bool:
    """Returns whether the block of a `closed` is being run."""
    return _closed.get()


def opened(path: str | os.PathLike[str], refusal: type[TapetumError] = DamagedError, what: str = "a file") -> io.BufferedReader:
    """Opens a regular file for reading bytes; pipes, devices, sockets and folders are refused before they are opened."""
    if are_closed():
        raise refusal(f"{shown(path)}: no files can be named here; send a picture, or run this from Python or the command line")
    try:
        mode = os.stat(path).st_mode
        handle = os.open(path, _FLAGS) if stat.S_ISREG(mode) else -1  # if it has become a pipe since, opening does not wait
    except FileNotFoundError as error:
        where = shown(os.path.dirname(os.path.abspath(path)) if os.path.isabs(path) else _here())
        raise refusal(f"{shown(path)}: no such file; looked in {where}") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or shown(error)
        raise refusal(f"{shown(path)}: cannot be opened ({why}); check its name and permissions") from error
    _check(mode, path, refusal, what)
    try:
        _check(os.fstat(handle).st_mode, path, refusal, what)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def contents(path: str | os.PathLike[str], limit: int = LIMIT, refusal: type[TapetumError] = DamagedError) -> bytes:
    """Returns all bytes of a regular file; refuses one of more than `limit` bytes."""
    return b"".join(_blocks(path, limit, limit + 1, refusal, f"{limit / 1e6:g} MB, the most that is read"))


def checksum(path: str | os.PathLike[str], before: bytes = b"", refusal: type[TapetumError] = DamagedError) -> str:
    """Returns the SHA-256 of the bytes `before` and a regular file of at most 8 GB.

    Larger files are refused: even an empty hole of a terabyte takes an hour to read.
    """
    whole = hashlib.sha256(before)
    for block in _blocks(path, HASHED, 1 << 20, refusal, f"{HASHED / 1e9:g} GB, the most that is compared by its checksum"):
        whole.update(block)
    return whole.hexdigest()


def _blocks(path: str | os.PathLike[str], limit: int, size: int, refusal: type[TapetumError], most: str) -> Iterator[bytes]:
    """Yields the bytes of a regular file in blocks of `size`; refuses one of more than `limit` bytes, `most` in words."""
    total = 0
    with opened(path, refusal) as file:
        large = os.fstat(file.fileno()).st_size > limit
        try:
            while not large and (block := file.read(size)):
                yield block
                total += len(block)
                large = total > limit  # files in /proc have no size, and some never end
        except OSError as error:
            raise refusal(f"{shown(path)}: cannot be read ({error.strerror})") from error
    if large:
        raise refusal(f"{shown(path)}: larger than {most}")


def _check(mode: int, path: str | os.PathLike[str], refusal: type[TapetumError], what: str) -> None:
    if stat.S_ISDIR(mode):
        raise refusal(f"{shown(path)}: a folder, not {what}; name a file inside it")
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "nothing that can be read")
        raise refusal(f"{shown(path)}: {kind}, not {what}; save what it gives as a file first")


def _here() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "the working folder, which is gone"
