"""What stands before every request: who may ask, how much may be sent, and what a browser may do with the answer."""

from __future__ import annotations

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
from tapetum.studios.refusals import NotAllowed, NoToken, StudioError, TooLarge

LOCAL = ("127.0.0.1", "localhost", "[::1]")
JSON_BYTES = 100_000
"""Largest size in bytes of a question."""
CLIENT = re.compile(r"[A-Za-z0-9_-]{16,64}")
NEEDS_NO_TOKEN = ("api/about",)


@dataclass(frozen=True)
class Guard:
    """Rules of one studio.

    hosts     names in a Host header under which it answers; empty: any
    token     secret that requests carry, or None
    embedders origins of pages that may show the studio in a frame, beside this computer's own
    """

    hosts: frozenset[str]
    token: str | None = None
    embedders: Sequence[str] = ()

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
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if site not in ("same-origin", "none") or (origin is not None and urlsplit(origin).netloc != host):
            raise NotAllowed("only the studio's own page may ask")
        if self.token is not None and path not in NEEDS_NO_TOKEN and not self.knows(headers):
            raise NoToken("this studio asks for its token: open the whole address that it printed when it started")
        if method == "POST" and path != "api/pictures" and int(headers.get("content-length", "0") or 0):
            kind = headers.get("content-type", "").partition(";")[0].strip()
            if kind != "application/json":
                raise NotAllowed("questions are sent as application/json")

    def knows(self, headers: Headers) -> bool:
        given = headers.get("authorization", "").removeprefix("Bearer ")
        return self.token is None or hmac.compare_digest(given.encode(), self.token.encode())


def owner_of(headers: Headers, client: Any) -> str:
    """Returns who asks: the name that the page gave itself, at its address, so that limits hold for each."""
    name = headers.get("x-tapetum-client", "")
    return f"{client.host if client else ''} {name if CLIENT.fullmatch(name) else ''}"


class Guarded:
    """Wraps an application: checks each request before it, limits its body, and adds headers to each answer."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self.app, self.guard = app, guard
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
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        headers, path = Headers(scope=scope), path_of(scope)
        most = MOST_BYTES if path == "api/pictures" else JSON_BYTES
        try:
            self.guard.check(scope["method"], path, headers)
            length = headers.get("content-length")
            if length is not None and (not length.isdigit() or int(length) > most):
                raise TooLarge(_too_large(most))
            await self.app(scope, _limited(receive, most), sent)
        except StudioError as error:
            if begun:
                raise
            await _refuse(sent, error)


def path_of(scope: Scope) -> str:
    """Returns the path below the place where the studio is mounted, without a leading slash."""
    return scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/")


def _too_large(most: int) -> str:
    what = "a picture" if most == MOST_BYTES else "a question"
    return f"{what} has at most {most / 1e6:g} MB; send a smaller one"


def _limited(receive: Receive, most: int) -> Receive:
    total = 0

    async def limited() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > most:
            raise TooLarge(_too_large(most))
        return message

    return limited


async def _refuse(send: Send, error: StudioError) -> None:
    body = json.dumps({"message": str(error), "kind": type(error).__name__}).encode()
    heads = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": error.status, "headers": heads})
    await send({"type": "http.response.body", "body": body})
