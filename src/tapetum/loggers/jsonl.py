"""Logger that appends to a file of JSON lines, one per event."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path


class JSONLines:
    """Logger that appends lines {"time", "step", ...} to a file, and flushes each at once.

    A line that a killed run left unfinished is not changed; the next run starts on a new line.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.file = None

    def log(self, values: Mapping[str, float | int], step: int) -> None:
        if self.file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torn = not _ends_with_line(self.path)
            self.file = self.path.open("a", encoding="utf-8")
            self.file.write("\n" if torn else "")
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.file.write(json.dumps({"time": now, "step": step, **values}) + "\n")
        self.file.flush()

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


def _ends_with_line(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
