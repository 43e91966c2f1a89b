"""Output on the terminal: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tapetum.files.words import printable, shown
from tapetum.progress import Progress as Event
from tapetum.progress import Watcher

STOPPED = 130
"""Exit status of a program that Ctrl-C ended: 128 + SIGINT."""

debugging: ContextVar[bool] = ContextVar("tapetum_debugging", default=False)
"""True if unforeseen errors should end the program with a traceback (--debug)."""


def say(text: str) -> None:
    """Prints a result on standard output."""
    print(text)


def say_file(path: Path) -> None:
    """Prints a file byte for byte on standard output, whatever the terminal's encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.write(path.read_bytes())
    sys.stdout.buffer.flush()


def remark(text: str) -> None:
    """Prints a remark as one line on standard error."""
    print(one_line(text), file=sys.stderr)


def fail(text: str) -> None:
    """Prints a refusal as one line on standard error."""
    print(f"tapetum: {one_line(text)}", file=sys.stderr)


def one_line(text: object, longest: int = 1000) -> str:
    """Returns text in one line without control characters, as errors and file names may have, cut at `longest` characters."""
    return printable(text)[:longest]


def duration(seconds: float) -> str:
    """Returns a length of time in words, as exact as an estimate is."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def unexpected(error: Exception) -> str:
    """Describes an unforeseen error in one line; system errors and lack of memory without the name of the exception."""
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
    """Yields a watcher that draws a progress bar on standard error; it draws nothing if that is not a terminal."""
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


def telling(watcher: Watcher, unit: str) -> Watcher:
    """Returns a watcher that prints each stage with events of this unit once, such as what the work will cost.

    It does so where no bar is drawn, too; all events go on to `watcher`.
    """
    said: list[str] = []

    def watch(event: Event) -> bool | None:
        if event.unit == unit and event.stage and event.stage not in said:
            said.append(event.stage)
            remark(event.stage)
        return watcher(event)

    return watch


def rate(event: Event) -> str:
    """Returns the text beside the bar: pictures per second, the loss of a training, or ""."""
    if event.unit == "examples" and event.value is not None:
        return f"loss {event.value:.3f}"
    return f"{event.value:.3g} pictures/s" if event.unit == "pictures" and event.value else ""
