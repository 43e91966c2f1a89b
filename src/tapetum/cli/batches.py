"""Processes many inputs in turn: reports and leaves out those that are refused; Ctrl-C keeps those that are finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from tapetum.cli.models import ModelChoice
from tapetum.cli.terminal import bar, debugging, fail, one_line, remark, unexpected
from tapetum.data.preprocessing import Preprocessing
from tapetum.data.sources import find_images
from tapetum.files import shown
from tapetum.models.vision_model import VisionModel
from tapetum.progress import Watcher
from tapetum.types import ImageError, MethodError, TapetumError, UnwritableError

T = TypeVar("T")
Refused = list[tuple[str, str]]
"""(file, reason)."""

NAMED = 10
"""Largest number of lines about skipped pictures on the terminal."""


def images_of(paths: Sequence[str]) -> tuple[list[str], Refused]:
    """Lists the images in files, folders and at URLs; returns them and the paths without images, with reasons."""
    files: list[str] = []
    refused: Refused = []
    for path in paths:
        try:
            files += find_images([path])
        except ImageError as error:
            refused.append(print_refusal(path, str(error)))
    return find_images(files), refused  # again over all, which drops files that were named twice


def readable(files: Sequence[str], preprocessing: Preprocessing) -> tuple[list[str], Refused]:
    """Returns the files that can be read as photographs, and the others with reasons; none is kept in memory."""

    def read(file: str, _: Watcher) -> str:
        with preprocessing.opened(file):
            return file

    return for_each(files, read)


def opened(model: ModelChoice, images: Sequence[str]) -> tuple[VisionModel, list[str], Refused]:
    """Loads a model; returns it with the images that can be read, and those that cannot, with reasons."""
    files, refused = images_of(images)
    network = model.load()
    files, unread = readable(files, network.preprocessing)
    return network, files, refused + unread


def readable_files(paths: Sequence[str] | None, network: VisionModel, option: str) -> list[str] | None:
    """Returns the pictures that an option names and that can be read; None without any paths; refuses paths without one."""
    if not paths:
        return None
    found, _ = readable(images_of(paths)[0], network.preprocessing)
    if not found:
        raise MethodError(f"{option} has no picture that can be read: {', '.join(paths)}")
    return found


def for_each(
    files: Sequence[str], work: Callable[[str, Watcher], T], doing: str = "", stopped: str = ""
) -> tuple[list[T], Refused]:
    """Calls `work` on every file with a progress bar; returns the results and the refused files, with reasons.

    `doing` precedes the file name in the bar; `stopped` ends the message after Ctrl-C.
    """
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
            remark(f"stopped: {len(done)} of {len(files)} images are done{stopped}")
            return done, refused + [(left, NOT_DONE) for left in files[i:]]
        except Exception as error:  # one image that fails must not end the work on the others
            refused.append(print_refusal(file, reason_of(error)))
    return done, refused


NOT_DONE = "not done: stopped before its turn"


def reason_of(error: Exception) -> str:
    """Returns why one input is left out; raises errors that concern all inputs, and unforeseen ones under --debug."""
    if isinstance(error, UnwritableError):
        raise error
    if isinstance(error, TapetumError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or one_line(error)
    if debugging.get():
        raise error
    return unexpected(error)


def print_refusal(subject: str, reason: str) -> tuple[str, str]:
    """Prints that `subject` is refused and why; returns (subject, reason)."""
    fail(_naming(subject, reason))
    return subject, reason


def _naming(subject: str, reason: str) -> str:
    name = shown(subject)
    return reason if reason.startswith(name) or f"{name}: " in reason else f"{name}: {reason}"


def listed_refusals(refused: Refused, name: str = "file") -> list[dict[str, str]]:
    """Converts refusals to the entries of report.json: {name: subject, "reason": reason}."""
    return [{name: subject, "reason": reason} for subject, reason in refused]


def say_skipped(skipped: Iterable[tuple[str, str]], where: str = "") -> None:
    """Prints skipped pictures, in ten lines at most; `where` is the file that lists all of them, if there is one."""
    rows = list(skipped)
    named = rows if len(rows) <= NAMED else rows[: NAMED - 1]
    for name, reason in named:
        fail(_naming(name, reason))
    if len(rows) > len(named):
        fail(f"and {len(rows) - len(named)} other pictures were skipped{where and f'; {where} lists all'}")


def status(done: Sequence[object], refused: Sequence[object]) -> int:
    """Returns the exit status: 0 if nothing was refused, 1 if some inputs were done, 2 if none was."""
    return 2 if not done else 1 if refused else 0
