"""Serves an atlas's site on this computer, with two more requests: units that fire on a new picture, and data of one unit.

GET  /...                   the site's files
GET  /api/unit?unit=L:C     a unit as JSON
POST /api/fires             a picture's bytes: {predictions, fires, seen}

Only files inside the site's folder are served. Only pages from this server's own address may send requests, so that other
pages in the same browser cannot. Pictures are analysed one at a time, and only a few may wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import socket
import urllib.parse
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tapetum.atlas.asking import Asking
from tapetum.atlas.connections import HEAD_BYTES, JSON, HttpRequest, Line, RefusedRequest, Reply, Room, answer_of, answered
from tapetum.files import inside, opened
from tapetum.types import ModelError, TapetumError

MAX_BYTES = 30_000_000
"""Largest size in bytes of a picture that is sent."""
CONNECTIONS, PICTURES = 256, 8
"""Largest number of simultaneous connections and pictures; none of them occupies a thread while it waits."""
BACKLOG = 128
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".webp": "image/webp",
    ".png": "image/png",
    ".json": JSON,
}
SERVED = b'<meta name="tapetum-served" content="1">'
LOCAL = ("127.0.0.1", "localhost", "[::1]")


class Server:
    """Serves one atlas; port 0 means any free port. `run` answers requests until another thread calls `stop`."""

    def __init__(self, asking: Asking, host: str = "127.0.0.1", port: int = 0) -> None:
        self.asking = asking
        self.site = inside(asking.folder, "site").resolve()
        if not (self.site / "index.html").is_file():
            raise TapetumError(f"{asking.folder} has no site; `tapetum atlas export {asking.folder}` makes it")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            where = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4]
            self._socket = socket.create_server(where[:2], family=family, backlog=BACKLOG)
        except (OSError, ValueError) as error:  # ValueError: not a valid host name
            why = getattr(error, "strerror", None) or str(error)
            raise TapetumError(f"{host}:{port} cannot be used ({why}); give another --port, or --port 0 for any") from error
        self.host = f"[{host}]" if ":" in host else host
        self.port: int = self._socket.getsockname()[1]
        self._stopped: Future[None] = Future()
        self._connections, self._pictures = Room(CONNECTIONS), Room(PICTURES)
        self._passes, self._reads = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        for threads in (self._passes, self._reads):
            threads.shutdown(cancel_futures=True)

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}/"

    def run(self) -> None:
        asyncio.run(self._until_stopped())

    def stop(self) -> None:
        """Ends `run`, and closes all connections."""
        self._stopped.set_result(None)

    async def _until_stopped(self) -> None:
        server = await asyncio.start_server(self._connected, sock=self._socket, limit=HEAD_BYTES, backlog=BACKLOG)
        try:
            await asyncio.wrap_future(self._stopped)
        finally:
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answered(reader, writer, self._connections, self._respond)

    # --- which requests are allowed

    def knows(self, host: str) -> bool:
        """Checks whether a Host header names this server; on a loopback address, only loopback names are accepted."""
        name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() else host
        return name.lower() in (self.host, *LOCAL) or self.host not in LOCAL

    def _check_origin(self, request: HttpRequest) -> None:
        """Refuses requests from pages of other sites, by the origin headers that browsers send."""
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
        if (origin is not None and origin != f"http://{request.headers['host']}") or site not in ("same-origin", "none"):
            raise RefusedRequest(HTTPStatus.FORBIDDEN, "only the atlas's own pages may ask")

    # --- answers

    async def _respond(self, request: HttpRequest, line: Line) -> Reply:
        if not self.knows(request.headers["host"]):
            raise RefusedRequest(HTTPStatus.FORBIDDEN, "this server answers to its own address only")
        path, _, query = request.target.partition("?")
        try:
            if request.method == "POST":
                return await self._fires(path, request, line)
            if path == "/api/unit":
                return await self._unit(query, request)
            if path.startswith("/api/"):
                raise RefusedRequest(HTTPStatus.NOT_FOUND, "there are GET api/unit?unit=layer:channel and POST api/fires")
            return self._file(urllib.parse.unquote(path), request)
        except ModelError as error:
            raise RefusedRequest(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
        except TapetumError as error:
            raise RefusedRequest(HTTPStatus.BAD_REQUEST, str(error)) from error
        except (RefusedRequest, ConnectionError):
            raise
        except Exception as error:
            text = f"the server failed at this ({type(error).__name__}); it goes on with other questions"
            raise RefusedRequest(HTTPStatus.INTERNAL_SERVER_ERROR, text) from error

    async def _unit(self, query: str, request: HttpRequest) -> Reply:
        names = urllib.parse.parse_qs(query).get("unit", [])
        if len(names) != 1:
            raise RefusedRequest(HTTPStatus.BAD_REQUEST, "name one unit: api/unit?unit=layer:channel")
        self._check_origin(request)
        return await _json_by(self._reads, lambda: self.asking.store.unit(names[0]))

    async def _fires(self, path: str, request: HttpRequest, line: Line) -> Reply:
        if path != "/api/fires":
            raise RefusedRequest(HTTPStatus.NOT_FOUND, "pictures are sent to api/fires")
        self._check_origin(request)
        if request.length > MAX_BYTES:
            text = f"the picture has more than {MAX_BYTES // 1_000_000} MB; send a smaller one"
            raise RefusedRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        with self._pictures.place():
            data = await line.body(request, self._pictures)
            return await _json_by(self._passes, lambda: self.asking.fires(data))

    def _file(self, path: str, request: HttpRequest) -> Reply:
        name = self._inside(path)
        file = opened(name)
        status = os.fstat(file.fileno())
        etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        kept = {"ETag": etag, "Cache-Control": "no-cache"}  # browsers may cache it, but ask each time if it changed
        if etag in request.headers.get("if-none-match", ""):
            file.close()
            return Reply(io.BytesIO(), 0, None, HTTPStatus.NOT_MODIFIED, kept)
        if name.name != "index.html":
            return Reply(file, status.st_size, TYPES[name.suffix], headers=kept)
        with file:
            page = file.read().replace(b"<head>", b"<head>\n" + SERVED, 1)
        return Reply(io.BytesIO(page), len(page), TYPES[".html"], headers=kept)

    def _inside(self, path: str) -> Path:
        """Returns the path of a file of the site; refuses missing files, and links or .. that lead outside of it."""
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # impossible file names, or links in a circle
            file = (self.site / (path.lstrip("/") or "index.html")).resolve()
            if self.site in file.parents and file.suffix in TYPES and file.is_file():
                return file
        raise RefusedRequest(HTTPStatus.NOT_FOUND, "there is no such file in this atlas")


async def _json_by(threads: ThreadPoolExecutor, work: Callable[[], Any]) -> Reply:
    """Returns the result of `work`, done in one of the threads, as a JSON response."""
    from tapetum.atlas.export import json_text

    body = await asyncio.get_running_loop().run_in_executor(threads, lambda: json_text(work()).encode())
    return answer_of(body, JSON, Cache_Control="no-store")
