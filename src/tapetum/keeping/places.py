"""Makes and deletes folders, and turns write errors into one-line messages."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from tapetum.files import shown
from tapetum.types import UnwritableError

GOES_ON = "once it can, the same command goes on"
ELSEWHERE = "choose another place"


def removed(path: Path) -> None:
    """Deletes a file, a link, a pipe, or a folder with its contents; does nothing if the path does not exist."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def made(folder: Path) -> Generator[None]:
    """Makes a folder with its parents; when the block ends, deletes those of them that are new and still empty."""
    with writable(folder):
        new = [place for place in (folder, *folder.parents) if not place.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):
            for place in new:
                place.rmdir()


@contextmanager
def writable(place: str | Path, then: str = GOES_ON) -> Generator[None]:
    """Turns an `OSError`, such as a full or read-only disk, into a one-line error that ends in the advice `then`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise UnwritableError(f"{shown(place)} cannot be written ({reason}); {then}") from error
