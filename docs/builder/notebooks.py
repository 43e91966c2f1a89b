"""Converts lessons to notebooks: executed ones for the site, clean ones for Colab.

    python docs/builder/notebooks.py 5 6     # executes lessons 5 and 6 (all without numbers) into docs/_build/lessons

Two lessons run at a time, each in a kernel of its own with one thread. A lesson is not run again while its script, the
settings (LESSON_*) and the package's files are the same.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import sys
import tempfile
import threading
import time
import tomllib
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import torch
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tapetum.course.links import to_site
from tapetum.course.scripts import Lesson, lessons

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "_build" / "lessons"
AT_A_TIME = 2
SETTINGS = ("LESSON_FAST", "LESSON_MODEL", "LESSON_WEIGHTS", "LESSON_IMAGE")

KERNEL = {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT / "src"),
    "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm misses widgets, which a page cannot have
}

Notebook = Any
"""nbformat's NotebookNode: attributes for keys, of any type."""


class LessonFailed(Exception):
    """A cell of a lesson failed; names the cell and its error."""


def main() -> int:
    """Executes lessons; 1 if a cell failed."""
    options = argparse.ArgumentParser(description="Execute tapetum's lessons.")
    options.add_argument("numbers", nargs="*", type=int, help="only these")
    options.add_argument("--out", type=Path, default=FOLDER, help="the folder of the notebooks")
    given = options.parse_args()
    try:
        execute(chosen(given.numbers), given.out)
    except LessonFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def chosen(numbers: Sequence[int]) -> list[Lesson]:
    """Lessons of these numbers; all without numbers."""
    there = lessons()
    unknown = [n for n in numbers if n not in {one.number for one in there}]
    if unknown:
        raise LessonFailed(f"no lesson {unknown[0]}; there are {', '.join(str(one.number) for one in there)}")
    return [one for one in there if not numbers or one.number in numbers]


# --- executing


say_now: Callable[[str], None] = functools.partial(print, flush=True)
"""Prints at once, also into a pipe: lessons take a while."""


def execute(wanted: Sequence[Lesson], folder: Path = FOLDER, say: Callable[[str], None] = say_now) -> None:
    """Runs what has changed and writes it into the folder; stops at the first lesson that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    setting = _setting()
    waiting = [one for one in wanted if executed(one, folder, setting) is None]
    if len(waiting) < len(wanted):
        say(f"{len(wanted) - len(waiting)} of {len(wanted)} lessons are as they were when they ran")
    clock = _Clock({one.number: _seconds_before(one, folder) for one in waiting}, say)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        running: dict[Future[float], Lesson] = {}
        while waiting or running:
            while waiting and len(running) < AT_A_TIME:
                one = waiting.pop(0)
                running[pool.submit(_execute_one, one, folder, setting)] = one
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                one = running.pop(future)
                clock.done(one, future.result())


def _execute_one(lesson: Lesson, folder: Path, setting: str) -> float:
    """Runs a lesson in its own kernel and writes its notebook; returns the seconds."""
    notebook = jupytext.read(lesson.file)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="tapetum-lesson-") as place:
        settings = {"timeout": None, "kernel_name": "python3", "extra_arguments": ["--log-level=ERROR"]}
        client = NotebookClient(notebook, resources={"metadata": {"path": place}}, **settings)
        try:
            client.execute(env={**os.environ, **KERNEL})
        except CellExecutionError as error:
            raise LessonFailed(_words(lesson, notebook, error)) from None
    seconds = time.perf_counter() - start
    ran = {"script": _hash(lesson.file), "setting": setting, "seconds": round(seconds, 1), "fast": _is_fast()}
    notebook.metadata["tapetum"] = ran
    _write(notebook, folder / f"{lesson.slug}.ipynb")
    return seconds


def _words(lesson: Lesson, notebook: Notebook, error: CellExecutionError) -> str:
    """Describes a failure: lesson, cell, message, and the source of the cell."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    at = next(i for i, cell in enumerate(code) if any(out.output_type == "error" for out in cell.get("outputs", ())))
    source = "\n".join(f"    {line}" for line in code[at].source.splitlines())
    return f"lesson {lesson.number} ({lesson.slug}), code cell {at + 1}: {error.ename}: {error.evalue}\n{source}"


class _Clock:
    """Reports finished lessons and estimates the time of the others."""

    def __init__(self, expected: Mapping[int, float | None], say: Callable[[str], None]) -> None:
        self.expected, self.say = dict(expected), say
        self.taken: list[float] = []
        self.lock = threading.Lock()

    def done(self, lesson: Lesson, seconds: float) -> None:
        with self.lock:
            self.taken.append(seconds)
            self.expected.pop(lesson.number)
            usual = sum(self.taken) / len(self.taken)
            left = sum(usual if one is None else one for one in self.expected.values()) / AT_A_TIME
            count = f"{len(self.taken)} of {len(self.taken) + len(self.expected)}"
            self.say(f"{count}: lesson {lesson.number}, {seconds:.0f} s" + (f", about {left:.0f} s left" if left else ""))


def executed(lesson: Lesson, folder: Path = FOLDER, setting: str | None = None) -> Notebook | None:
    """Notebook of a lesson executed with its current script, and with a setting, in that setting."""
    file = folder / f"{lesson.slug}.ipynb"
    if not file.is_file():
        return None
    notebook = nbformat.read(file, 4)
    ran = notebook.metadata.get("tapetum", {})
    same = ran.get("script") == _hash(lesson.file) and setting in (None, ran.get("setting"))
    return notebook if same else None


def _seconds_before(lesson: Lesson, folder: Path) -> float | None:
    file = folder / f"{lesson.slug}.ipynb"
    return nbformat.read(file, 4).metadata.get("tapetum", {}).get("seconds") if file.is_file() else None


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _setting() -> str:
    """Hash of everything besides the script that can change a lesson's output."""
    found = hashlib.sha256(f"{sys.version} {torch.__version__}".encode())
    for name in SETTINGS:
        found.update(f"{name}={os.environ.get(name, '')}\n".encode())
    for file in sorted((ROOT / "src" / "tapetum").rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            found.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return found.hexdigest()


def _is_fast() -> bool:
    return os.environ.get("LESSON_FAST", "") not in ("", "0")


def _write(notebook: Notebook, file: Path) -> None:
    """Writes the notebook completely or not at all."""
    part = file.with_name(f".{uuid.uuid4().hex}.part")
    try:
        nbformat.write(notebook, part)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


# --- for Colab


def urls() -> dict[str, str]:
    """Addresses of the project, from pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]


def colab_address(lesson: Lesson) -> str:
    """Address at which Colab opens the notebook: in the branch of the built site."""
    repository = urls()["Repository"].removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{repository}/blob/gh-pages/notebooks/{lesson.slug}.ipynb"


def write_clean(lesson: Lesson, folder: Path) -> Path:
    """Writes the notebook for use elsewhere: no outputs, full addresses, tapetum installed by its first cell."""
    notebook = jupytext.read(lesson.file)
    site = urls()["Documentation"]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = to_site(cell.source, site)
    install = f"%pip install --quiet git+{urls()['Repository']}"
    words = f"[This lesson on the site]({site}tutorials/{lesson.slug}.html) · [in Colab]({colab_address(lesson)})"
    notebook.cells[:0] = [nbformat.v4.new_markdown_cell(words), nbformat.v4.new_code_cell(install)]
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{i}"  # not random: the same lesson gives the same file
    notebook.metadata["colab"] = {"provenance": []}
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    folder.mkdir(parents=True, exist_ok=True)
    _write(notebook, folder / f"{lesson.slug}.ipynb")
    return folder / f"{lesson.slug}.ipynb"


if __name__ == "__main__":
    raise SystemExit(main())
