"""Settings that blocks of code change and turn back: those of the whole process, and those of one context."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


class Switch:
    """A setting of the whole process, such as one of torch: `with switch():` turns it inside the block.

    Blocks of several threads may overlap: the first turns it, the last turns it back. If each restored what it found, the one
    that ends last would leave another's setting for good.

    turn  returns the context in which the setting is turned
    """

    def __init__(self, turn: Callable[[], AbstractContextManager[object]]) -> None:
        self._turn, self._lock = turn, threading.Lock()
        self._users, self._turned = 0, ExitStack()
        self._here = threading.local()

    @property
    def here(self) -> bool:
        """Whether this thread is inside such a block."""
        return getattr(self._here, "depth", 0) > 0

    @contextmanager
    def __call__(self) -> Generator[None]:
        with self._lock:
            if self._users == 0:
                self._turned.enter_context(self._turn())
            self._users += 1
        self._here.depth = getattr(self._here, "depth", 0) + 1
        try:
            yield
        finally:
            self._here.depth = getattr(self._here, "depth", 0) - 1
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._turned.close()


_filters = Switch(warnings.catch_warnings)


@contextmanager
def ignoring(message: str = "", category: type[Warning] = Warning, module: str = "") -> Generator[None]:
    """Ignores warnings inside the block, of any thread: those whose message and module begin with these patterns, or all."""
    with _filters():
        warnings.filterwarnings("ignore", message, category, module)
        yield


@contextmanager
def during(variable: ContextVar[T], value: T) -> Generator[T]:
    """Gives a context variable a value inside the block, in this thread or task alone."""
    token = variable.set(value)
    try:
        yield value
    finally:
        variable.reset(token)
