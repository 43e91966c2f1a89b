"""Places on the disk: what lies in one is taken away, and one that takes nothing is refused in a line."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tapetum.files import shown
from tapetum.types import UnwritableError

GOES_ON = "once it can, the same command goes on"
ELSEWHERE = "choose another place"


def removed(path: Path) -> None:
    """Takes away what lies in a file's or folder's place: a file, a link, a pipe, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def writable(place: str | Path, then: str = GOES_ON) -> Generator[None]:
    """Turns what the system says against a place, such as a full or read-only disk, into one line: `then`, what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise UnwritableError(f"{shown(place)} cannot be written ({reason}); {then}") from error
