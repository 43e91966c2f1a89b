"""Implements the server's side of HTTP/1.1: each connection carries one request, read strictly and completely, and one answer.

Requests may come from anybody. A connection is closed after its answer, so that no body can pose as a second request. No thread
waits for a client, every wait has a time limit, and when there are too many connections, the longest silent one is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

HEAD_BYTES = 32_000
"""Largest size in bytes of a request line and its headers; browsers also send cookies of the computer's other servers."""
HEAD_S = 10
LINGER_S = 2
SLOWEST = 500_000
"""Bytes per second that a client must at least send or receive, after the first `HEAD_S` seconds."""
CHUNK = 1 << 16

SECURE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Connection": "close",
}
"""Headers of every response."""

JSON = "application/json"
METHODS = ("GET", "HEAD", "POST")
_LINE = re.compile(r"([A-Za-z]{1,40}) (/[!-~]*) HTTP/1\.[01]")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)")
_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_LENGTH = re.compile(r"[0-9]+")


class RefusedRequest(Exception):
    """Error that refuses a request, with an HTTP status, a reason in one line, and further headers."""

    def __init__(self, status: HTTPStatus, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers


@dataclass(frozen=True)
class HttpRequest:
    """A parsed request without its body; header names are in lower case, repeated headers joined by commas."""

    method: str
    target: str
    headers: Mapping[str, str]
    length: int
    """Number of bytes of the request's body."""


@dataclass(frozen=True)
class Reply:
    """Response to a request: a text in memory, or an open file that is closed after sending."""

    content: io.BufferedIOBase
    size: int
    kind: str | None = None
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def answer_of(body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, **headers: str) -> Reply:
    """Returns a text as a response; headers are keywords with underscores, such as Cache_Control="no-store"."""
    return Reply(io.BytesIO(body), len(body), kind, status, {name.replace("_", "-"): text for name, text in headers.items()})


class Room:
    """Limits the number of connections: a new one replaces the longest silent one, or is refused if none is silent."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waits: dict[asyncio.Timeout, None] = {}

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        if self._free <= 0:
            longest = next((wait for wait in self._waits if not wait.expired()), None)
            if longest is None:
                raise RefusedRequest(HTTPStatus.SERVICE_UNAVAILABLE, "too much at once; ask again in a moment", Retry_After="2")
            self._end(longest)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    @contextlib.asynccontextmanager
    async def patience(self, seconds: float) -> AsyncIterator[None]:
        """Limits the waiting in the block: TimeoutError after `seconds`, ConnectionError if another client gets its place."""
        wait = asyncio.timeout(seconds)
        try:
            async with wait:
                self._waits[wait] = None
                yield
        except TimeoutError:
            if wait.expired() and wait not in self._waits:
                raise ConnectionAbortedError from None
            raise
        finally:
            self._waits.pop(wait, None)

    def _end(self, wait: asyncio.Timeout) -> None:
        del self._waits[wait]
        wait.reschedule(asyncio.get_running_loop().time())


class Line:
    """One connection to a client: reads its request, and sends the response."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, room: Room) -> None:
        self._reader, self._writer, self._room = reader, writer, room
        writer.transport.set_write_buffer_limits(0)  # so that drain() returns only when all bytes are sent

    async def request(self) -> HttpRequest:
        """Reads the request; RefusedRequest if it is not HTTP/1, ConnectionError (no response) if nothing was sent."""
        head = b""
        try:
            async with self._room.patience(HEAD_S):
                head = await self._reader.readexactly(1)  # browsers open connections in advance
                if not head.isalpha():
                    raise RefusedRequest(HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1 request; an address begins with http://")
                head += await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            text = f"the request has more than {HEAD_BYTES // 1000} kB of headers"
            raise RefusedRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text) from None
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            if not head:
                raise ConnectionAbortedError from error
            raise RefusedRequest(HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive whole") from None
        return request_in(head)

    async def body(self, request: HttpRequest, room: Room) -> bytes:
        """Reads the body of a request; `room` limits the number of bodies that are read at once."""
        if request.headers.get("expect", "").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        seconds = HEAD_S + request.length / SLOWEST
        try:
            async with room.patience(seconds), self._room.patience(seconds):
                return await self._reader.readexactly(request.length)
        except asyncio.IncompleteReadError:
            raise RefusedRequest(HTTPStatus.BAD_REQUEST, "the picture was cut off on its way") from None
        except TimeoutError:
            raise RefusedRequest(HTTPStatus.REQUEST_TIMEOUT, "the picture did not arrive in time") from None

    async def send(self, answer: Reply, with_body: bool) -> None:
        with answer.content as content:
            async with self._room.patience(HEAD_S + answer.size / SLOWEST):
                self._writer.write(_head(answer))
                await self._writer.drain()
                while with_body and (chunk := content.read(CHUNK)):
                    self._writer.write(chunk)
                    await self._writer.drain()
        self._writer.write_eof()
        async with self._room.patience(LINGER_S):  # closing a connection with unread bytes would discard the response
            while await self._reader.read(CHUNK):
                pass


async def answered(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    room: Room,
    respond: Callable[[HttpRequest, Line], Awaitable[Reply]],
) -> None:
    """Serves one connection from its first byte to its end; a client that disconnects or is too slow causes no error."""
    line, with_body = Line(reader, writer, room), True
    try:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stay:
            try:
                stay.enter_context(room.place())
                request = await line.request()
                with_body = request.method != "HEAD"
                answer = await respond(request, line)
            except RefusedRequest as refusal:
                text = json.dumps({"error": str(refusal)}).encode()
                answer = answer_of(text, JSON, refusal.status, Cache_Control="no-store", **refusal.headers)
            await line.send(answer, with_body)
    finally:
        writer.transport.abort()  # bytes already passed to the system are still sent


def request_in(head: bytes) -> HttpRequest:
    """Parses a request line and headers, up to the empty line; refuses malformed ones and unknown methods."""
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise RefusedRequest(HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1 request for a path of this server (/index.html)")
    headers: dict[str, str] = {}
    for text in lines:
        found = _FIELD.fullmatch(text)
        if found is None:
            raise RefusedRequest(HTTPStatus.BAD_REQUEST, "one of the request's headers is malformed")
        name, value = found[1].lower(), found[2].rstrip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if line[1] not in METHODS:
        known = ", ".join(METHODS)
        raise RefusedRequest(HTTPStatus.METHOD_NOT_ALLOWED, f"this server answers {known}", Allow=known)
    if not _HOST.fullmatch(headers.get("host", "")):
        raise RefusedRequest(HTTPStatus.BAD_REQUEST, "a request has one Host header with a name or an address")
    return HttpRequest(line[1], line[2], headers, _length(headers, line[1]))


def _length(headers: Mapping[str, str], method: str) -> int:
    text = headers.get("content-length")
    if "transfer-encoding" in headers or (text is None and method == "POST"):
        raise RefusedRequest(HTTPStatus.LENGTH_REQUIRED, "send the picture's bytes in one piece, with their Content-Length")
    if text is None:
        return 0
    if not _LENGTH.fullmatch(text):
        raise RefusedRequest(HTTPStatus.BAD_REQUEST, "a Content-Length is one number of bytes")
    length = int(text.lstrip("0")[:20] or 0)  # Python refuses numbers of thousands of digits
    if length and method != "POST":
        raise RefusedRequest(HTTPStatus.BAD_REQUEST, f"a {method} has no body")
    return length


def _head(answer: Reply) -> bytes:
    status, kind = HTTPStatus(answer.status), answer.kind
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", f"Date: {formatdate(usegmt=True)}"]
    headers = {**SECURE, **answer.headers}
    if kind is not None:
        headers |= {"Content-Type": kind, "Content-Length": str(answer.size)}
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode("latin-1")
