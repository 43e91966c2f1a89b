"""What the terminal shows: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tapetum.progress import Progress as Event
from tapetum.progress import Watcher


def say(text: str) -> None:
    """A result, on standard output."""
    print(text)


def note(text: str) -> None:
    """A remark, on standard error."""
    print(text, file=sys.stderr)


def fail(text: str) -> None:
    """A refusal: one line on standard error."""
    print(f"tapetum: {text}", file=sys.stderr)


@contextmanager
def bar(title: str) -> Iterator[Watcher]:
    """A progress bar with the time that is left, on standard error; a watcher for the one event stream."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None)

        def watch(event: Event) -> None:
            progress.update(task, completed=event.done, total=event.total)

        yield watch
