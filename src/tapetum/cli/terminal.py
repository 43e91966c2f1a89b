"""What the terminal shows: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tapetum.files.words import plain, shown
from tapetum.progress import Progress as Event
from tapetum.progress import Watcher

debugging: ContextVar[bool] = ContextVar("tapetum_debugging", default=False)
"""Whether errors that nobody foresaw end the program with their traceback (--debug)."""


def say(text: str) -> None:
    """A result, on standard output."""
    print(text)


def say_file(path: Path) -> None:
    """A file's own bytes, on standard output: the same whatever the terminal's encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.write(path.read_bytes())
    sys.stdout.buffer.flush()


def note(text: str) -> None:
    """A remark: one line on standard error."""
    print(one_line(text), file=sys.stderr)


def fail(text: str) -> None:
    """A refusal: one line on standard error."""
    print(f"tapetum: {one_line(text)}", file=sys.stderr)


def one_line(text: object, longest: int = 1000) -> str:
    """Messages of libraries, and names of files, may have several, and what a terminal would obey."""
    return plain(text)[:longest]


def unexpected(error: Exception) -> str:
    """An error that nobody foresaw, for people: the system's own words where it has some."""
    if isinstance(error, OSError) and (error.strerror or error.filename):
        gone = isinstance(error, FileNotFoundError) and error.filename is None
        what = "the working folder is gone; go to another one" if gone else error.strerror or type(error).__name__
        place = "" if error.filename is None else f"{shown(error.filename)}: "
        return f"{place}{what} (--debug shows where)"
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; smaller pictures or a smaller --batch take less (--debug shows where)"
    return f"unexpected {type(error).__name__}: {one_line(error, 300)} (--debug shows where)"


@contextmanager
def bar(title: str) -> Iterator[Watcher]:
    """A progress bar with the time that is left, on standard error; a watcher for the one event stream.

    Where standard error is no terminal there is nothing to move, and nothing is printed.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),  # a file may be called [bold].png
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        name = one_line(title, 60)
        task = progress.add_task(name, total=None, rate="")

        def watch(event: Event) -> None:
            stage = name if event.stage is None else f"{name}: {one_line(event.stage, 60)}"
            progress.update(task, completed=event.done, total=event.total, description=stage, rate=rate(event))

        yield watch


def rate(event: Event) -> str:
    """Pictures a second, or a training's loss, where the event's value is that."""
    if event.unit == "examples" and event.value is not None:
        return f"loss {event.value:.3f}"
    return f"{event.value:.3g} pictures/s" if event.unit == "pictures" and event.value else ""
