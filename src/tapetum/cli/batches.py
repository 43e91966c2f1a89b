"""Runs many inputs one after the other: refused ones are reported and left out, and Ctrl-C keeps the finished ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from tapetum.cli.terminal import bar, debugging, fail, note, one_line, unexpected
from tapetum.data.sources import find_images
from tapetum.files import shown
from tapetum.progress import Watcher
from tapetum.types import ImageError, TapetumError, UnwritableError

T = TypeVar("T")
Refused = list[tuple[str, str]]
"""(file, reason)."""

NAMED = 10
"""Lines about skipped pictures on the terminal."""


def images_of(paths: Sequence[str]) -> tuple[list[str], Refused]:
    """The images in files, folders and at addresses, and the folders without any."""
    files: list[str] = []
    refused: Refused = []
    for path in paths:
        try:
            files += find_images([path])
        except ImageError as error:
            refused.append(refusal(path, str(error)))
    return find_images(files), refused  # once more, for files that were named twice


def for_each(
    files: Sequence[str], work: Callable[[str, Watcher], T], doing: str = "", stopped: str = ""
) -> tuple[list[T], Refused]:
    """Does the work on every file, each with a progress bar; `stopped` ends the message after Ctrl-C."""
    done: list[T] = []
    refused: Refused = []
    for i, file in enumerate(files):
        place = f"{i + 1}/{len(files)} " if len(files) > 1 else ""
        try:
            with bar(f"{place}{doing}{Path(file).name}") as watcher:
                done.append(work(file, watcher))
        except KeyboardInterrupt:
            if not done:
                raise
            note(f"stopped: {len(done)} of {len(files)} images are done{stopped}")
            return done, refused + [(left, NOT_DONE) for left in files[i:]]
        except Exception as error:  # one image that a network stumbles over must not cost the others
            refused.append(refusal(file, reason_of(error)))
    return done, refused


NOT_DONE = "not done: stopped before its turn"


def reason_of(error: Exception) -> str:
    """The reason to leave one input out; an error that concerns all of them is raised again, and any other with --debug."""
    if isinstance(error, UnwritableError):
        raise error
    if isinstance(error, TapetumError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or one_line(error)
    if debugging.get():
        raise error
    return unexpected(error)


def refusal(subject: str, reason: str) -> tuple[str, str]:
    """Prints a refusal and returns it."""
    fail(_naming(subject, reason))
    return subject, reason


def _naming(subject: str, reason: str) -> str:
    name = shown(subject)
    return reason if reason.startswith(name) or f"{name}: " in reason else f"{name}: {reason}"


def listed_refusals(refused: Refused, name: str = "file") -> list[dict[str, str]]:
    """Refusals as report.json lists them."""
    return [{name: subject, "reason": reason} for subject, reason in refused]


def say_skipped(skipped: Iterable[tuple[str, str]], where: str = "") -> None:
    """Names skipped pictures, in ten lines at most; `where` is the file that lists all, if there is one."""
    rows = list(skipped)
    named = rows if len(rows) <= NAMED else rows[: NAMED - 1]
    for name, reason in named:
        fail(_naming(name, reason))
    if len(rows) > len(named):
        fail(f"and {len(rows) - len(named)} other pictures were skipped{where and f'; {where} lists all'}")


def status(done: Sequence[object], refused: Sequence[object]) -> int:
    """The exit status: 0 done, 1 in part, 2 nothing."""
    return 2 if not done else 1 if refused else 0
