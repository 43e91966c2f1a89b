"""Connections that are closed when their client does not finish a question in time."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

ASK_S = 20.0
"""Seconds within which a client begins a question, from the connection or the last answer on to the end of its headers."""


class Impatient(H11Protocol):
    """HTTP as uvicorn speaks it, which by itself waits for ever for a first question: a few hundred idle clients block it."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        if self._is_answering():
            self._wait()

    def on_response_complete(self) -> None:
        self._expect()  # first: the next question may be there already
        super().on_response_complete()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect(self) -> None:
        self._wait()
        self._deadline = self.loop.call_later(ASK_S, self._end)

    def _wait(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self) -> None:
        if not self._is_answering():
            self.transport.abort()
