"""Finished cells of a long table, one JSON line each, so that a benchmark that was stopped goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Cells:
    """What is known already, by key. A half-written last line, as a killed process leaves it, is forgotten.

    A changed method keeps its old cells: delete the file, or its lines, to measure again.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.known: dict[tuple[Any, ...], dict[str, Any]] = {}
        if path.is_file():
            whole = path.read_text().rpartition("\n")[0]
            path.write_text(whole + "\n" if whole else "")
            for cell in map(json.loads, whole.splitlines()):
                self.known[tuple(cell["key"])] = cell

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        return key in self.known

    def __getitem__(self, key: tuple[Any, ...]) -> dict[str, Any]:
        return self.known[key]

    def add(self, key: tuple[Any, ...], **facts: Any) -> dict[str, Any]:
        """Notes a cell and writes it down at once."""
        cell = self.known[key] = {"key": list(key), **facts}
        with self.path.open("a") as lines:
            lines.write(json.dumps(cell) + "\n")
        return cell
