"""Files that appear under their names when they are complete: nobody ever meets a half of one."""

from __future__ import annotations

import os
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
