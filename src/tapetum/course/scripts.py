"""Finds and reads the lessons: percent scripts (`# %%`) in lessons/ of a clone, or beside this file when installed.

A script is plain Python. A cell of text begins with `# %% [markdown]` and is all comments; a cell of code begins with `# %%`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tapetum.types import TapetumError

_HEAD = re.compile(r"# %%(?P<markdown> \[markdown\])?[ \t]*")
_TITLE = re.compile(r"# (\d+) · (.+)")
_MINUTES = re.compile(r"about (\d+) minutes?")


@dataclass(frozen=True)
class Cell:
    """One cell: its kind, its text, and the line of the script (from 1) where the text begins."""

    kind: Literal["markdown", "code"]
    text: str
    line: int


@dataclass(frozen=True)
class Lesson:
    """One lesson: number and title from its first cell, and about how many minutes it takes to read and run."""

    number: int
    title: str
    minutes: int | None
    file: Path
    cells: tuple[Cell, ...]

    @property
    def slug(self) -> str:
        """Returns the script's name without ".py", such as "06_where"."""
        return self.file.stem


def scripts_folder() -> Path:
    """Returns the folder of the lessons' scripts, installed with the package or in a clone of the repository."""
    installed = Path(__file__).with_name("lessons")
    return installed if installed.is_dir() else Path(__file__).resolve().parents[3] / "lessons"


def lessons() -> tuple[Lesson, ...]:
    return tuple(sorted((read_lesson(file) for file in scripts_folder().glob("[0-9][0-9]_*.py")), key=lambda one: one.number))


def lesson(number: int) -> Lesson:
    """Returns the lesson of that number; if there is none, refuses and lists the numbers."""
    there = {one.number: one for one in lessons()}
    if number not in there:
        known = ", ".join(map(str, there)) or "none installed"
        raise TapetumError(f"no lesson {number}; there are {known} (`tapetum lesson` lists them)")
    return there[number]


def read_lesson(file: Path) -> Lesson:
    """Reads a script; refuses one whose first cell has no title such as "# 6 · Where things are"."""
    cells = parse(file.read_text("utf-8"))
    found = _TITLE.match(cells[0].text) if cells and cells[0].kind == "markdown" else None
    if found is None:
        raise TapetumError(f"{file.name}: the first cell must be text that begins with '# NUMBER · Title'")
    minutes = _MINUTES.search(cells[0].text)
    return Lesson(int(found[1]), found[2].strip(), int(minutes[1]) if minutes else None, file, cells)


def parse(text: str) -> tuple[Cell, ...]:
    """Splits a percent script into cells; text before the first one is left out."""
    found: list[Cell] = []
    lines = text.splitlines()
    heads = [i for i, line in enumerate(lines) if _HEAD.fullmatch(line)]
    for start, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        head = _HEAD.fullmatch(lines[start])
        body = lines[start + 1 : end]
        if head is not None and head["markdown"]:
            found.append(Cell("markdown", "\n".join(re.sub(r"^# ?", "", line) for line in body).strip(), start + 2))
        elif any(line.strip() for line in body):
            found.append(Cell("code", "\n".join(body).rstrip(), start + 2))
    return tuple(found)
