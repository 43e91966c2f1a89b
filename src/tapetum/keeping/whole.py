"""Writes files and folders that appear under their names only when complete.

They are written under a hidden name beside their place, locked while the writing process lives, and flushed to the disk before
they are renamed. A process killed at any moment leaves the earlier content, and at most hidden files or folders, which
`clear_leftovers` deletes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import uuid
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from tapetum.keeping.locks import held, is_free
from tapetum.keeping.places import GOES_ON, removed, writable

LEFTOVER = re.compile(r"\.tapetum-[0-9a-f]{32}")
"""Names of files and folders that are being written, or were left by a killed process."""

TRIES = 5
SYNCED_AT_ONCE = 16
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux's fcntl.h and fs.h


def hidden_name() -> str:
    """Returns a new hidden name, which no other process uses and which `LEFTOVER` matches."""
    return f".tapetum-{uuid.uuid4().hex}"


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """Yields a hidden file beside `path` to write into; renames it to `path` when the block ends.

    An error in the block, a full disk, or a block that writes nothing leaves `path` as it was and nothing beside it.
    """
    part = path.with_name(hidden_name())
    try:
        with held(part):
            yield part
            if not part.stat().st_size:
                raise FileNotFoundError(errno.ENOENT, "nothing was written", str(path))
            _sync(part)
            os.replace(part, path)
            _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            part.unlink()


def write_whole(path: Path, data: bytes, then: str = GOES_ON) -> None:
    """Writes a complete file; tries again if another process has deleted the unfinished file, on a disk without locks."""
    with writable(path, then):
        for _ in range(TRIES - 1):
            with suppress(FileNotFoundError):
                return _write(path, data)
        return _write(path, data)


def _write(path: Path, data: bytes) -> None:
    with whole_file(path) as part:
        part.write_bytes(data)


@contextmanager
def work_folder(place: Path) -> Generator[Path]:
    """Yields a new hidden folder in `place`; deletes it when the block ends, unless `take_place` has renamed it."""
    work = place / hidden_name()
    try:
        with held(work, folder=True):
            yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def whole_folder(path: Path, *, replaces: bool = False) -> Generator[Path]:
    """Yields a hidden folder beside `path` to fill; renames it to `path` when the block ends.

    An error leaves `path` as it was. An earlier `path` must be an empty folder, unless `replaces`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path.parent)
    with work_folder(path.parent) as work:
        yield work
        take_place(work, path, replaces=replaces)


def take_place(work: Path, path: Path, *, replaces: bool = False) -> None:
    """Renames a finished folder to `path` after flushing it to the disk; with `replaces`, an earlier `path` is deleted."""
    _sync_all(work)
    if not (replaces and os.path.lexists(path)):
        os.replace(work, path)
    elif not _exchanged(work, path):
        old = path.with_name(hidden_name())
        os.replace(path, old)
        os.replace(work, path)
        removed(old)
    _sync_folder(path.parent)


def move_contents(work: Path, folder: Path, last: Sequence[str] = ()) -> None:
    """Moves the contents of a finished folder into another one; names in `last` are moved at the end."""
    _sync_all(work)
    for path in sorted(work.iterdir(), key=lambda one: (one.name in last, one.name)):
        os.replace(path, folder / path.name)
    _sync_folder(folder)


def _exchanged(work: Path, path: Path) -> bool:
    """Swaps two paths in one step, so that both always exist; returns False if the system cannot."""
    exchange = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    names = os.fsencode(work), os.fsencode(path)
    return exchange is not None and exchange(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0


def clear_leftovers(*folders: Path) -> None:
    """Deletes unfinished files and folders of killed processes from these folders, but not those of living processes."""
    for folder in folders:
        with suppress(OSError):
            for path in [path for path in folder.iterdir() if LEFTOVER.fullmatch(path.name)]:
                with suppress(OSError), is_free(path) as free:
                    if free:
                        removed(path)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _sync_all(folder: Path) -> None:
    places = [folder, *folder.rglob("*")]
    with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:  # side by side: file systems write out many at the cost of one
        list(pool.map(_sync, (one for one in places if one.is_file() and not one.is_symlink())))
    for inner in (one for one in places if one.is_dir() and not one.is_symlink()):
        _sync_folder(inner)


def _sync_folder(path: Path) -> None:
    """Flushes a folder's list of names to the disk, if the system supports that."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
