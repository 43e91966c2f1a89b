"""Notes for the reader of a result: engines and methods add notes with `note`; the `border` package attaches them to results.

A `caution` is a note that the whole result may be wrong. It is also issued as a Python warning, once per model.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from tapetum.switches import during
from tapetum.types import TapetumWarning

RAW = "the images lie in [0, 1] although the model expects normalised ones: use model.preprocess"
ASSUMED = "mean and std are assumed to be {}, since the model brings none: give those that it was trained with"

_said: ContextVar[list[str] | None] = ContextVar("tapetum_notes", default=None)


@contextmanager
def noting() -> Generator[list[str]]:
    """Yields a list that fills with the notes made inside the block, each sentence once."""
    with during(_said, said := list[str]()):
        yield said


def note(sentence: str) -> None:
    """Adds a sentence to the notes of the current result; does nothing outside a method."""
    said = _said.get()
    if said is not None and sentence not in said:
        said.append(sentence)


def caution(sentence: str, warned: set[str]) -> None:
    """Adds the sentence to the notes; if it is not in `warned`, also adds it there and warns at the user's line of code."""
    note(sentence)
    if sentence not in warned:
        warned.add(sentence)
        warnings.warn(sentence, TapetumWarning, stacklevel=_outside(sys._getframe()))


def is_caution(sentence: str) -> bool:
    """Returns whether a note is a caution, which figures and reports show in another colour."""
    return sentence == RAW or sentence.startswith(ASSUMED.partition("{")[0])


def _outside(frame: FrameType) -> int:
    """Returns how many stack frames lie up to the user's code: past tapetum, torch, and the type checkers used in tests."""
    level = 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1
    return level


_OURS = ("tapetum", "contextlib", "type_checks", "jaxtyping", "beartype", "torch")
