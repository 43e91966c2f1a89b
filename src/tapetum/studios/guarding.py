"""What stands before every request: who may ask, how much may be sent, and what a browser may do with the answer."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tapetum.studios.pictures import MOST_BYTES
from tapetum.studios.refusals import NotAllowed, NoToken, Overrun, StudioError, TooLarge, TooSlow

LOCAL = ("127.0.0.1", "localhost", "[::1]")
JSON_BYTES = 100_000
"""Largest size in bytes of a question."""
JSON_S, PICTURE_S, SEND_S = 20.0, 120.0, 300.0
"""Seconds within which a question or a picture arrives, and a part of an answer is taken."""
AT_ONCE = 128
"""Largest number of requests that are answered at a time."""
REST_S = 2.0
"""Seconds for the rest of a body that is refused."""
CLIENT = re.compile(r"[A-Za-z0-9_-]{16,64}")
NEEDS_NO_TOKEN = ("api/about",)


@dataclass(frozen=True)
class Guard:
    """Rules of one studio.

    hosts     names in a Host header under which it answers; empty: any
    token     secret that requests carry, or None
    public    address under which a proxy shows the studio, or None
    embedders origins of pages that may show the studio in a frame, beside this computer's own
    """

    hosts: frozenset[str]
    token: str | None = None
    public: str | None = None
    embedders: Sequence[str] = ()

    @property
    def prefix(self) -> str:
        """Path of the public address, such as "/user/me/proxy/7860", which not every proxy takes away."""
        return "" if self.public is None else urlsplit(self.public).path.rstrip("/")

    @property
    def key(self) -> str:
        """Part of the addresses of reports and an atlas, whose pages cannot send the token; "" where none is needed."""
        return "" if self.token is None else hmac.digest(self.token.encode(), b"files", "sha256").hex()[:32]

    def keyless(self, path: str) -> str | None:
        """Returns the path of a file without the key; None if it needs the key and does not have it."""
        first, _, rest = path.partition("/")
        if self.token is None or first not in ("atlas", "reports"):
            return path
        given, _, rest = rest.partition("/")
        return f"{first}/{rest}" if hmac.compare_digest(given.encode(), self.key.encode()) else None

    def headers(self) -> dict[str, str]:
        """Headers of every answer: nothing from elsewhere is loaded, run or sent."""
        local = "http://localhost:* http://127.0.0.1:*"
        ancestors = " ".join(["'self'", local, *self.embedders])
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
            f"frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
        )
        return {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
        }

    def check(self, method: str, path: str, headers: Headers) -> None:
        """Refuses requests to other names, from pages of other sites, without the token, or too large."""
        host = headers.get("host", "")
        name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() else host
        if self.hosts and name.lower() not in self.hosts:
            raise NotAllowed("this studio answers under its own address only; --address says under which others it is shown")
        if not path.startswith("api/"):
            return
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") or not self._is_ours(headers):
            raise NotAllowed("only the studio's own page may ask")
        if self.token is not None and path not in NEEDS_NO_TOKEN and not self.knows(headers):
            raise NoToken("this studio asks for its token: open the whole address that it printed when it started")
        if method == "POST" and path != "api/pictures" and _has_body(headers):
            kind = headers.get("content-type", "").partition(";")[0].strip()
            if kind != "application/json":
                raise NotAllowed("questions are sent as application/json")

    def _is_ours(self, headers: Headers) -> bool:
        """Whether a request comes from the studio's own page, as far as the browser says."""
        places = {headers.get("host", "")} | ({urlsplit(self.public).netloc} if self.public else set())
        origin = headers.get("origin")
        return origin is None or origin.partition("://")[2] in places

    def knows(self, headers: Headers) -> bool:
        given = headers.get("authorization", "").removeprefix("Bearer ")
        return self.token is None or hmac.compare_digest(given.encode(), self.token.encode())


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def owner_of(headers: Headers, client: Any) -> str:
    """Returns who asks: the name that the page gave itself, at its address, so that limits hold for each."""
    name = headers.get("x-tapetum-client", "")
    return f"{client.host if client else ''} {name if CLIENT.fullmatch(name) else ''}"


class Guarded:
    """Wraps an application: checks each request before it, limits its body, and adds headers to each answer."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self.app, self.guard = app, guard
        self._answering = 0
        self._headers = [(name.lower().encode(), value.encode()) for name, value in guard.headers().items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = {name for name, _ in message.get("headers", [])}
                added = [pair for pair in self._headers if pair[0] not in own]
                if message["status"] == TooSlow.status:
                    added.append((b"connection", b"close"))
                message = {**message, "headers": [*message.get("headers", []), *added]}
            async with asyncio.timeout(SEND_S):
                await send(message)

        below = _below(scope, self.guard.prefix)
        if below is None:
            return await _lead(sent, self.guard.prefix)
        scope, headers = below, Headers(scope=scope)
        path = path_of(scope)
        most, within_s = (MOST_BYTES, PICTURE_S) if path == "api/pictures" else (JSON_BYTES, JSON_S)
        self._answering += 1
        body = _Body(receive, most, within_s)
        try:
            if self._answering > AT_ONCE:
                raise Overrun(f"{AT_ONCE} requests are being answered already; try again in a moment")
            self.guard.check(scope["method"], path, headers)
            length = headers.get("content-length")
            if length is not None and (not length.isdigit() or int(length) > most):
                raise TooLarge(_too_large(most))
            await self.app(scope, body, sent)
        except StudioError as error:
            if begun:
                raise
            if error.status not in (TooLarge.status, TooSlow.status):
                await body.let_go()
            await _refuse(sent, error)
        except TimeoutError:
            if not begun:
                raise  # else the client does not take its answer: the connection is closed
        finally:
            self._answering -= 1


def _below(scope: Scope, prefix: str) -> Scope | None:
    """Returns a request as it is without the prefix of a proxy that left it there; None where only the last "/" is missing."""
    path = scope["path"]
    if prefix and path == prefix:
        return None
    return {**scope, "path": path.removeprefix(prefix)} if prefix and path.startswith(f"{prefix}/") else scope


async def _lead(send: Send, prefix: str) -> None:
    """Leads to the page, whose relative addresses need the "/" at the end."""
    place = (b"location", f"{prefix.rpartition('/')[2]}/".encode())
    await send({"type": "http.response.start", "status": 307, "headers": [place, (b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def path_of(scope: Scope) -> str:
    """Returns the path below the place where the studio is mounted, without a leading slash."""
    return scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/")


def _too_large(most: int) -> str:
    what = "a picture" if most == MOST_BYTES else "a question"
    return f"{what} has at most {most / 1e6:g} MB; send a smaller one"


class _Body:
    """`receive` for a body of at most `most` bytes that arrives within `within_s` seconds."""

    def __init__(self, receive: Receive, most: int, within_s: float) -> None:
        self.receive, self.most, self.within_s = receive, most, within_s
        self.until, self.total, self.there = asyncio.get_running_loop().time() + within_s, 0, False

    async def __call__(self) -> Message:
        if self.there:
            return await self.receive()
        try:
            async with asyncio.timeout_at(self.until):
                message = await self.receive()
        except TimeoutError as error:
            raise TooSlow(f"the request did not arrive within {self.within_s:g} s; send it again") from error
        self.there = not message.get("more_body", False)
        self.total += len(message.get("body", b""))
        if self.total > self.most:
            raise TooLarge(_too_large(self.most))
        return message

    async def let_go(self) -> None:
        """Reads a small rest of the body, without keeping it: a client that still sends would lose the answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REST_S):
                while not self.there and self.total < JSON_BYTES:
                    message = await self.receive()
                    self.there = not message.get("more_body", False)
                    self.total += len(message.get("body", b""))


async def _refuse(send: Send, error: StudioError) -> None:
    """Sends a refusal. What still comes of the body is thrown away for a while: closing at once would lose the refusal, too."""
    body = json.dumps({"message": str(error), "kind": type(error).__name__}).encode()
    heads = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": heads})
    await send({"type": "http.response.body", "body": body})
