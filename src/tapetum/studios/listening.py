"""`Listener`: carries a job's events from its thread to a request that streams them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

LATEST = ("queued", "progress", "picture", "map")
"""Events of which a slow reader gets the latest only."""
LAST = ("result", "refused", "stopped")
"""Events that end a job."""
ALIVE_S = 10.0
"""Seconds of silence after which a stream says that it is alive, so that no proxy ends it."""


class Event(NamedTuple):
    name: str
    data: Mapping[str, Any] | bytes
    """Content of the event; bytes are JSON already."""

    @property
    def json(self) -> bytes:
        return self.data if isinstance(self.data, bytes) else json.dumps(self.data, separators=(",", ":")).encode()

    @property
    def line(self) -> bytes:
        """The event as the lines of a stream of server-sent events."""
        return b"event: " + self.name.encode() + b"\ndata: " + self.json + b"\n\n"


class Listener:
    """Holds events that were given in any thread until the loop in which it was made takes them."""

    def __init__(self) -> None:
        self._loop, self._ready, self._lock = asyncio.get_running_loop(), asyncio.Event(), threading.Lock()
        self._held: list[Event] = []

    def give(self, event: Event) -> None:
        with self._lock:
            if event.name in LATEST:
                self._held = [one for one in self._held if one.name != event.name]
            self._held.append(event)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self._loop.call_soon_threadsafe(self._ready.set)

    async def events(self) -> AsyncIterator[Event | None]:
        """Yields events up to the one that ends the job; None after `ALIVE_S` seconds without any."""
        while True:
            try:
                async with asyncio.timeout(ALIVE_S):  # wait_for of Python 3.11 may lose a cancellation
                    await self._ready.wait()
            except TimeoutError:
                yield None
                continue
            self._ready.clear()
            with self._lock:
                held, self._held = self._held, []
            for event in held:
                yield event
                if event.name in LAST:
                    return
