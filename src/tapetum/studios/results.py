"""Results that were made, by the key of everything that decides their numbers: a question is answered once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from tapetum.types import Attribution

MOST_BYTES = 256_000_000
"""Largest size in bytes of all answers that are kept; those that were not asked for longest go first."""


class Results:
    """Answers as JSON, and the maps among them as tensors, which verdicts and metrics are about."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self._size, self._lock = most, 0, threading.Lock()
        self._kept: OrderedDict[str, tuple[bytes, Attribution | None, int]] = OrderedDict()

    def keep(self, key: str, answer: bytes, result: Any) -> None:
        maps = result if isinstance(result, Attribution) else None
        size = len(answer) + (0 if maps is None else maps.values.nbytes)
        with self._lock:
            self._drop(key)
            self._kept[key] = answer, maps, size
            self._size += size
            while self._size > self._most and len(self._kept) > 1:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        if key in self._kept:
            self._size -= self._kept.pop(key)[2]

    def answer(self, key: str) -> bytes | None:
        """Returns the answer of that key, or None."""
        found = self._found(key)
        return None if found is None else found[0]

    def get(self, key: str) -> Attribution | None:
        """Returns the maps of that key, or None."""
        found = self._found(key)
        return None if found is None else found[1]

    def _found(self, key: str) -> tuple[bytes, Attribution | None, int] | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)
