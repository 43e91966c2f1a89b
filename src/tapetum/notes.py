"""What a reader of the result must know, said where it is found out: engines and methods `note`, the border collects."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

_said: ContextVar[list[str] | None] = ContextVar("tapetum_notes", default=None)


@contextmanager
def noting() -> Generator[list[str]]:
    """Collects what is noted inside the block, each sentence once."""
    said: list[str] = []
    token = _said.set(said)
    try:
        yield said
    finally:
        _said.reset(token)


def note(sentence: str) -> None:
    """Adds a sentence to the notes of the result that is being made; nothing outside of a method."""
    said = _said.get()
    if said is not None and sentence not in said:
        said.append(sentence)
