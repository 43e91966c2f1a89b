"""Files that appear under their names when they are complete: nobody ever meets a half of one."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def appearing(path: Path) -> Generator[Path]:
    """A hidden file beside `path` to write into, of a name that no other process has; it becomes `path` when the block ends.

    An error in the block, or a full disk, leaves `path` as it was and nothing beside it.
    """
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink()


def removed(path: Path) -> None:
    """Takes away what lies in a file's place: a file, a link, a pipe, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
