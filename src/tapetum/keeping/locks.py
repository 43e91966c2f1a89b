"""Locks files and folders while a process works in them; the system releases a lock when the process ends in any way."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from tapetum.files import shown
from tapetum.keeping.places import made, writable
from tapetum.types import TapetumError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"
"""Name of the lock file in a folder where a process works; it is deleted at the end, and left unlocked by a killed process."""


def _taken(handle: int) -> bool | None:
    """Locks an open file without waiting; False if another process holds it, None if the system or disk has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network disks
        return None
    return True


@contextmanager
def held(path: Path, *, folder: bool = False) -> Generator[None]:
    """Makes a file or a folder and keeps it locked until the block ends.

    Another process that clears leftovers may find it before it is locked, and delete it: then it is made again.
    """
    handle = _made(path, folder)
    while handle is not None and not _stays(handle, path):
        os.close(handle)
        handle = _made(path, folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _stays(handle: int, path: Path) -> bool:
    """Locks a new file or folder, after waiting for a process that deletes it; returns whether it is still there."""
    if fcntl is not None and _taken(handle) is False:
        fcntl.flock(handle, fcntl.LOCK_EX)
    return os.path.lexists(path)


def _made(path: Path, folder: bool) -> int | None:
    while folder:
        path.mkdir()
        if fcntl is None:
            return None
        with suppress(FileNotFoundError):  # deleted before it was opened
            return os.open(path, os.O_RDONLY)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    return os.close(handle) if fcntl is None else handle  # Windows renames no file that is open


@contextmanager
def is_free(path: Path) -> Generator[bool]:
    """Yields whether no living process holds a file or folder; if so, no other can take it until the block ends."""
    mode = os.lstat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        yield True
        return
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        yield _taken(handle) is True
    finally:
        os.close(handle)


@contextmanager
def alone(folder: Path) -> Generator[None]:
    """Keeps other processes out of a folder during the block; makes the folder, and deletes it at the end if it is empty."""
    lock = folder / LOCK
    with made(folder):
        with writable(folder):
            handle = _locked(lock)
        try:
            yield
        finally:
            if not os.fstat(handle).st_size:  # a file with content is not our lock
                lock.unlink(missing_ok=True)
            os.close(handle)


def _locked(lock: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # does not wait for a pipe
    while True:
        handle = os.open(lock, flags, 0o666)
        if _taken(handle) is False:
            os.close(handle)
            raise TapetumError(f"another process is at work in {shown(lock.parent)}; wait for it, or give another folder")
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.lstat(lock)):
                return handle
        os.close(handle)  # another process has ended its work meanwhile and deleted the file
