"""Many files, one after the other: what is refused is named and left out, and Ctrl-C keeps what is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def images_of(paths: Sequence[str]) -> tuple[list[str], Refused]:
    """The files meant by files, folders and addresses, and the folders that hold none."""
    files: list[str] = []
    refused: Refused = []
    for path in paths:
        try:
            files += find_images([path])
        except ImageError as error:
            refused.append(_refusal(path, str(error)))
    return find_images(files), refused  # once more, for files that were named twice


def for_each(
    files: Sequence[str], work: Callable[[str, Watcher], T], doing: str = "", stopped: str = ""
) -> tuple[list[T], Refused]:
    """`work` on every file, with a bar of its own; `stopped` is what to say of a run that Ctrl-C stopped."""
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
            return done, refused + [(left, "not done: stopped before its turn") for left in files[i:]]
        except UnwritableError:
            raise
        except TapetumError as error:
            refused.append(_refusal(file, str(error)))
        except OSError as error:
            refused.append(_refusal(file, error.strerror or one_line(error)))
        except Exception as error:  # one image that a network stumbles over must not cost the others
            if debugging.get():
                raise
            refused.append(_refusal(file, unexpected(error)))
    return done, refused


def _refusal(file: str, reason: str) -> tuple[str, str]:
    fail(reason if reason.startswith(shown(file)) else f"{shown(file)}: {reason}")
    return file, reason


def status(done: Sequence[object], refused: Sequence[object]) -> int:
    """The exit status: 0 done, 1 in part, 2 nothing."""
    return 2 if not done else 1 if refused else 0
