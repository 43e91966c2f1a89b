"""The site served on this computer, with two questions more: which units fire on any picture, and all of one unit.

GET  /...                   the site's files
GET  /api/unit?unit=L:C     a unit as JSON
POST /api/fires             a picture's bytes: {predictions, fires, seen}

Python's own http.server. Nothing outside the site's folder is given out; questions are answered only to pages of this
server's own address, so that no other page in the same browser can ask.
"""

from __future__ import annotations

import contextlib
import json
import sys
import urllib.parse
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tapetum.atlas.asking import Asking
from tapetum.types import ModelError, TapetumError

MAX_BYTES = 30_000_000
"""Of a picture that is sent."""
TIMEOUT_S = 60
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".webp": "image/webp",
    ".png": "image/png",
    ".json": "application/json",
}
SERVED = b'<meta name="tapetum-served" content="1">'
LOCAL = ("127.0.0.1", "localhost", "::1", "[::1]")
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)


class Refused(Exception):
    """A status and a line."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Server(ThreadingHTTPServer):
    """One atlas at one address; port 0: any that is free. Use as a context manager, `serve_forever` inside."""

    daemon_threads = True

    def __init__(self, asking: Asking, host: str = "127.0.0.1", port: int = 0) -> None:
        self.asking = asking
        self.site = (asking.folder / "site").resolve()
        if not (self.site / "index.html").is_file():
            raise TapetumError(f"{asking.folder} has no site; `tapetum atlas export {asking.folder}` makes it")
        try:
            super().__init__((host, port), Handler)
        except OSError as error:
            why = error.strerror or str(error)
            raise TapetumError(f"{host}:{port} cannot be used ({why}); give another --port, or --port 0 for any") from error
        self.host = host

    @property
    def address(self) -> str:
        """What a browser opens."""
        return f"http://{self.host}:{self.server_address[1]}/"

    def knows(self, host: str) -> bool:
        """Whether a Host header means this server; on a loopback address no other name may, however it resolves."""
        name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() else host
        return name in (self.host, *LOCAL) or self.host not in LOCAL

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error of ours."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server  # pyright: ignore[reportIncompatibleVariableOverride] (the one that makes it)
    server_version = "tapetum"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_HEAD(self) -> None:
        self._answered(self._get)

    def do_POST(self) -> None:
        self._answered(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is for people."""

    def _answered(self, work: Any) -> None:
        try:
            if not self.server.knows(self.headers.get("Host", "")):
                raise Refused(HTTPStatus.FORBIDDEN, "this server answers to its own address only")
            work()
        except Refused as refusal:
            self._fail(refusal.status, str(refusal))
        except ModelError as error:
            self._fail(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except TapetumError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except ConnectionError:
            raise
        except Exception as error:
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, f"unexpected {type(error).__name__}")

    def _fail(self, status: HTTPStatus, text: str) -> None:
        self.close_connection = True  # what was not read of the body is no next request
        self._send(json.dumps({"error": text}).encode(), TYPES[".json"], status)

    def _send(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, etag: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-cache" if etag else "no-store")  # kept, but asked about each time
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        if etag:
            self.send_header("ETag", etag)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    # --- what is asked

    def _get(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        if address.path == "/api/unit":
            names = urllib.parse.parse_qs(address.query).get("unit", [])
            if len(names) != 1:
                raise Refused(HTTPStatus.BAD_REQUEST, "name one unit: api/unit?unit=layer:channel")
            self._check_origin()
            self._send(_json(self.server.asking.store.unit(names[0])), TYPES[".json"])
        elif address.path.startswith("/api/"):
            raise Refused(HTTPStatus.NOT_FOUND, "there are GET api/unit?unit=layer:channel and POST api/fires")
        else:
            self._file(address.path)

    def _file(self, path: str) -> None:
        file = self._inside(urllib.parse.unquote(path))
        status = file.stat()
        etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
        if etag in self.headers.get("If-None-Match", ""):
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.send_header("ETag", etag)
            self.end_headers()
            return
        body = file.read_bytes()
        if file.name == "index.html":
            body = body.replace(b"<head>", b"<head>\n" + SERVED, 1)
        self._send(body, TYPES[file.suffix], etag=etag)

    def _inside(self, path: str) -> Path:
        """A file of the site; never one that a link or .. leads to outside of it."""
        with contextlib.suppress(OSError, ValueError):  # a name that no file can have
            file = (self.server.site / (path.lstrip("/") or "index.html")).resolve()
            if self.server.site in file.parents and file.suffix in TYPES and file.is_file():
                return file
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such file in this atlas")

    def _post(self) -> None:
        if urllib.parse.urlsplit(self.path).path != "/api/fires":
            raise Refused(HTTPStatus.NOT_FOUND, "pictures are sent to api/fires")
        self._check_origin()
        self._send(_json(self.server.asking.fires(self._body())), TYPES[".json"])

    def _check_origin(self) -> None:
        """Pages of other sites may not ask: a browser says where a request comes from."""
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "same-origin")
        if (origin is not None and origin != f"http://{self.headers.get('Host')}") or site not in ("same-origin", "none"):
            raise Refused(HTTPStatus.FORBIDDEN, "only the atlas's own pages may ask")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "send the picture's bytes with their Content-Length")
        if int(length) > MAX_BYTES:
            text = f"the picture has more than {MAX_BYTES // 1_000_000} MB; send a smaller one"
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        data = self.rfile.read(int(length))
        if len(data) < int(length):
            raise Refused(HTTPStatus.BAD_REQUEST, "the picture was cut off on its way")
        return data


def _json(value: Any) -> bytes:
    from tapetum.atlas.export import as_json

    return as_json(value).encode()
