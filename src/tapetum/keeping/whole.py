"""Files and folders that appear under their names when they are complete: nobody ever meets a half of one.

They are written under a hidden name beside their place, which is locked while its process lives, and are on the disk before
they take their own name. A process killed at any moment leaves the earlier content, and at most hidden files or folders that
`clear_leftovers` takes away.
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
"""Names of files and folders that are being written, or were when their process was killed."""

TRIES = 5
SYNCED_AT_ONCE = 16
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux's fcntl.h and fs.h


def hidden_name() -> str:
    """A name that no other process has, and that `LEFTOVER` matches."""
    return f".tapetum-{uuid.uuid4().hex}"


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """A hidden file beside `path` to write into; it becomes `path` when the block ends.

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
    """Writes a file whole, again if somebody on a disk without locks has cleared the unfinished one away."""
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
    """A new hidden folder in `place` to work in, gone when the block ends unless `take_place` has given it a name."""
    work = place / hidden_name()
    try:
        with held(work, folder=True):
            yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def whole_folder(path: Path, *, replaces: bool = False) -> Generator[Path]:
    """A hidden folder beside `path` to fill; it becomes `path` when the block ends.

    An error leaves `path` as it was. What is there must be an empty folder, or with `replaces` anything.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path.parent)
    with work_folder(path.parent) as work:
        yield work
        take_place(work, path, replaces=replaces)


def take_place(work: Path, path: Path, *, replaces: bool = False) -> None:
    """Gives a finished folder its name once all of it is on the disk; with `replaces`, instead of what is there."""
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
    """Moves all that is in a finished folder into another one, each under its name; `last` are the names that come last."""
    _sync_all(work)
    for path in sorted(work.iterdir(), key=lambda one: (one.name in last, one.name)):
        os.replace(path, folder / path.name)
    _sync_folder(folder)


def _exchanged(work: Path, path: Path) -> bool:
    """Swaps two names in one step, where the system can: there is no moment without a folder of that name."""
    exchange = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    names = os.fsencode(work), os.fsencode(path)
    return exchange is not None and exchange(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0


def clear_leftovers(*folders: Path) -> None:
    """Takes away what killed processes had begun to write in these folders; what a living one is at work on stays."""
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
    """Puts the names in a folder on the disk, where the system can."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
