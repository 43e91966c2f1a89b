"""Notes for the reader of a result: engines and methods add them with `note`, and the border collects them.

A `caution` is a note that the whole result may be wrong: it is also a warning, once per model.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from tapetum.types import TapetumWarning

RAW = "the images lie in [0, 1] although the model expects normalised ones: use model.preprocess"
ASSUMED = "mean and std are assumed to be {}, since the model brings none: give those that it was trained with"

_said: ContextVar[list[str] | None] = ContextVar("tapetum_notes", default=None)


@contextmanager
def noting() -> Generator[list[str]]:
    """Collects the notes made inside the block, each sentence once."""
    said: list[str] = []
    token = _said.set(said)
    try:
        yield said
    finally:
        _said.reset(token)


def note(sentence: str) -> None:
    """Adds a sentence to the notes of the current result; does nothing outside a method."""
    said = _said.get()
    if said is not None and sentence not in said:
        said.append(sentence)


def caution(sentence: str, warned: set[str]) -> None:
    """Notes the sentence and warns at the line of the user's code, unless it is in `warned`."""
    note(sentence)
    if sentence not in warned:
        warned.add(sentence)
        warnings.warn(sentence, TapetumWarning, stacklevel=_outside(sys._getframe()))


def is_caution(sentence: str) -> bool:
    """Whether a note is a caution: figures and reports show it in another colour."""
    return sentence == RAW or sentence.startswith(ASSUMED.partition("{")[0])


def _outside(frame: FrameType) -> int:
    """Number of frames up to the user's code: the first that is neither ours nor a type checker's in tests."""
    level = 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1
    return level


_OURS = ("tapetum", "contextlib", "type_checks", "jaxtyping", "beartype", "torch")
