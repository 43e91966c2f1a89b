"""`Exchanges`: carries requests and answers of an application as messages, where no address can be reached.

From the page, each message with at most one piece of a body beside it:
    {id, do: "ask", method, path, headers, more}   a request; more: pieces of its body follow
    {id, do: "body", more}                         such a piece
    {id, do: "got"}                                a piece of the answer has arrived
    {id, do: "gone"}                               nobody reads the answer any more
To the page, likewise:
    {id, status, headers, more}                    the answer begins; more: pieces follow
    {id, more}                                     such a piece
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from tapetum.studios.pictures import MOST_BYTES

AHEAD = 8
"""Pieces of an answer that may be on their way: what a slow connection cannot carry is not sent."""
QUIET_S = 20.0
"""Seconds without a sign from a page that was sent pieces, after which it is taken to have gone."""
PIECE_BYTES = 1_000_000
MOST_AT_ONCE = 64
"""Largest number of requests of one explorer at a time."""

Sending = Callable[[dict[str, Any], bytes], None]
WhenFree = Callable[[Callable[[], object]], object]
log = logging.getLogger("tapetum.studio")


class Exchanges:
    """All requests of one explorer, answered in a thread of their own.

    app        the application
    send       sends a message with a piece of a body
    when_free  calls a function as soon as the thread that hears messages is free; until then, silence says nothing
    """

    def __init__(self, app: ASGIApp, send: Sending, when_free: WhenFree = lambda call: call()) -> None:
        self.app, self.send, self.when_free = app, send, when_free
        self._asked: dict[str, _Exchange] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tapetum-studio-messages", daemon=True)
        self._thread.start()

    def hear(self, message: Mapping[str, Any], piece: bytes = b"") -> None:
        """Takes a message of the page, in any thread; what is no message is left alone."""
        if isinstance(message, Mapping) and isinstance(message.get("id"), str) and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, message["id"], message, piece)

    def close(self) -> None:
        """Ends all requests as if the page had gone."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    def __len__(self) -> int:
        return len(self._asked)

    # --- in its thread

    def _take(self, name: str, message: Mapping[str, Any], piece: bytes) -> None:
        one, do = self._asked.get(name), message.get("do")
        if do == "ask" and one is None:
            self._begin(name, message, piece)
        elif one is not None and do == "body":
            one.body(piece, bool(message.get("more")))
        elif one is not None and do == "got":
            one.room.release()
        elif one is not None and do == "gone":
            one.gone()

    def _begin(self, name: str, message: Mapping[str, Any], piece: bytes) -> None:
        scope = _scope(message)
        if scope is None or len(self._asked) >= MOST_AT_ONCE:
            text = b'{"message": "this is no request, or too many are open; close some views", "kind": "Busy"}'
            self.send({"id": name, "status": 429, "headers": {"content-type": "application/json"}, "more": False}, text)
            return
        one = self._asked[name] = _Exchange(name, self)
        one.body(piece, bool(message.get("more")))
        one.task = self._loop.create_task(one.run(scope))
        one.task.add_done_callback(lambda _: self._asked.pop(name, None))

    async def _end(self) -> None:
        asked = list(self._asked.values())
        for one in asked:
            one.gone()
        tasks = [one.task for one in asked if one.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=5)
            for task in late:
                task.cancel()


class _Exchange:
    """One request and its answer."""

    def __init__(self, name: str, all_of_them: Exchanges) -> None:
        self.name, self.all = name, all_of_them
        self.room = asyncio.Semaphore(AHEAD)
        self.task: asyncio.Task[None] | None = None
        self._heard: asyncio.Queue[Message] = asyncio.Queue()
        self._size, self._left = 0, False
        self._start: dict[str, Any] | None = None

    def body(self, piece: bytes, more: bool) -> None:
        self._size += len(piece)
        if self._size > MOST_BYTES + 2 * PIECE_BYTES:
            return  # the application refuses at its own limit, which it has then passed
        self._heard.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    def gone(self) -> None:
        self._left = True
        self._heard.put_nowait({"type": "http.disconnect"})

    async def run(self, scope: dict[str, Any]) -> None:
        try:
            await self.all.app(scope, self._receive, self._send)
        except Exception:
            log.exception("a request failed")
            if self._start is None:
                await self._send({"type": "http.response.start", "status": 500, "headers": []})
            await self._send({"type": "http.response.body"})

    async def _receive(self) -> Message:
        message = await self._heard.get()
        if message["type"] == "http.disconnect":
            self._heard.put_nowait(message)
        return message

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            heads = {name.decode("latin-1"): value.decode("latin-1") for name, value in message.get("headers", [])}
            self._start = {"status": message["status"], "headers": heads}
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        for at in range(0, max(1, len(body)), PIECE_BYTES):
            follows = more or at + PIECE_BYTES < len(body)
            if not self._left and await self._may_send():
                self.all.send({"id": self.name, **(self._start or {}), "more": follows}, body[at : at + PIECE_BYTES])
                self._start = {}

    async def _may_send(self) -> bool:
        """Waits for room on the way to the page; False, with the request ended, where the page gives no sign."""
        if await self._room():
            return True
        await self._until_free()
        if await self._room():
            return True
        self.gone()
        return False

    async def _room(self) -> bool:
        try:
            async with asyncio.timeout(QUIET_S):
                await self.room.acquire()
        except TimeoutError:
            return False
        return True

    async def _until_free(self) -> None:
        """Waits until the page is heard: it may have said something to a thread that computes."""
        free, loop = asyncio.Event(), asyncio.get_running_loop()
        self.all.when_free(lambda: loop.call_soon_threadsafe(free.set))
        await free.wait()


def _scope(message: Mapping[str, Any]) -> dict[str, Any] | None:
    method, address, headers = message.get("method"), message.get("path"), message.get("headers")
    if method not in ("GET", "POST", "DELETE") or not isinstance(address, str) or not isinstance(headers, Mapping):
        return None
    path, _, query = address.partition("?")
    pairs = [(str(name).lower().encode(), str(value).encode()) for name, value in headers.items()]
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "", "client": None,
        "server": None, "method": method, "path": "/" + unquote(path).lstrip("/"), "raw_path": path.encode(),
        "query_string": query.encode(), "headers": pairs,
    }  # fmt: skip
