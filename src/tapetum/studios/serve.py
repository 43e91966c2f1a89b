"""`studio`: opens the studio from Python; `Server` runs it, in this thread, beside it, or through a notebook."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tapetum.border.subjects import as_model
from tapetum.files import shown
from tapetum.studios.networks import Given
from tapetum.types import ModelLike, TapetumError

if TYPE_CHECKING:
    from tapetum.studios.widget import Explorer

LOOPBACK = ("127.0.0.1", "localhost", "::1")
CONNECTIONS = 256
"""Largest number of simultaneous connections."""
HEIGHT_PX = 760
"""Height of the studio inside a notebook."""


def studio(
    model: ModelLike | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    atlas: str | Path | None = None,
    address: str | None = None,
) -> Server:
    """Opens the studio on a model, beside the running Python; a notebook shows it below the cell.

    With anywidget (the extra `notebook`) the notebook shows it wherever it runs, also on another computer: the page then
    asks over the notebook's own connection, and no port is opened before `address` is asked for.
    The model is looked at through replicas that share its weights: it is never changed, and what was trained since is seen.
    It runs until `close()`, or until Python ends.

    Args:
        model: anything that methods take; None: the built-in model. The page offers the networks of the zoo as well.
        host: address to listen at; others than this computer's own need the token that is part of `address`.
        port: port; 0 for any that is free.
        atlas: folder of a built atlas to link to.
        address: address under which a proxy shows the studio, such as "https://hub.org/user/me/proxy/7860/".

    Example:
        >>> page = tp.studio(model)
        >>> page.close()
    """
    network = None if model is None else as_model(model)
    given = {} if network is None else {network.name: Given(lambda: network)}
    alone = (host, port, address) != ("127.0.0.1", 0, None) or not explorable()
    server = Server(given, host=host, port=port, atlas=atlas, address=address, listen=alone)
    return server.start() if alone else server.warm()


class Server:
    """Runs a studio: `run` in this thread, `start` in another one.

    given    {name: network} beside those of the zoo
    token    secret that requests need; None: one is made where others than this computer can connect
    embedders origins of pages that may show the studio in a frame
    listen   whether the port is opened at once; False: when `start`, or `address`, is asked for
    """

    def __init__(
        self,
        given: Mapping[str, Given],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        atlas: str | Path | None = None,
        reports: Sequence[str | Path] = (),
        address: str | None = None,
        token: str | None = None,
        embedders: Sequence[str] = (),
        listen: bool = True,
    ) -> None:
        uvicorn = _uvicorn()
        from tapetum.studios.app import application
        from tapetum.studios.connections import Impatient
        from tapetum.studios.guarding import LOCAL, Guard
        from tapetum.studios.studio import Studio

        local = host in LOOPBACK and address is None
        self.token = token or (None if local else secrets.token_urlsafe(24))
        self._public = None if address is None else f"{address.rstrip('/')}/"
        self.host, self._port = host, port
        self._explorer: Explorer | None = None
        names = {*LOCAL, f"[{host}]" if ":" in host else host}
        if address is not None:
            names.add(_host_of(address))
        everywhere = host in ("0.0.0.0", "::", "")
        guard = Guard(frozenset() if everywhere and address is None else frozenset(names), self.token, self._public, embedders)
        self.studio = Studio(given, atlas=_site_of(atlas), reports=list(map(_report, reports)))
        self._socket = _listening(host, port) if listen else None
        config = uvicorn.Config(
            application(self.studio, guard), log_level="warning", access_log=False, server_header=False,
            limit_concurrency=CONNECTIONS, timeout_keep_alive=5, timeout_graceful_shutdown=3, proxy_headers=False,
            h11_max_incomplete_event_size=32_000, ws="none", http=Impatient, loop="asyncio",
        )  # fmt: skip
        self._server = _ending(uvicorn.Server(config), self.studio.close)
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        if self._socket is None:
            self.start()
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    @property
    def address(self) -> str:
        """Address of the page, with its token; the studio answers there from now on."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        base = self._public or f"http://{host}:{self.port}/"
        return base if self.token is None else f"{base}#token={self.token}"

    def run(self) -> None:
        """Answers requests until it is stopped by a signal or by `close`."""
        self._socket = self._socket or _listening(self.host, self._port)
        asyncio.run(self._server.serve([self._socket]))

    def warm(self) -> Server:
        """Begins to load the first network."""
        self.studio.warm()
        return self

    def start(self) -> Server:
        """Answers requests in a thread beside the running Python; returns at once."""
        self._socket = self._socket or _listening(self.host, self._port)
        self.warm()
        self._thread = threading.Thread(target=self.run, name="tapetum-studio", daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Ends the studio: stops its jobs and closes its connections."""
        if self._explorer is not None:
            self._explorer.close()
        self._server.should_exit = True
        self.studio.close()  # streams end, and need not be cut off
        if self._thread is not None:
            self._thread.join(30)
        if self._socket is not None:
            self._socket.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "Studio" if self._socket is None else f"Studio at {self.address}"

    @property
    def explorer(self) -> Explorer:
        """The page as a widget of the notebook, which layouts of ipywidgets take, too."""
        if self._explorer is None:
            if not explorable():
                raise TapetumError(f"the explorer is for notebooks with anywidget; {_MISSING}")
            from tapetum.studios.app import application
            from tapetum.studios.guarding import Guard
            from tapetum.studios.widget import Explorer

            self._explorer = Explorer(application(self.studio, Guard(frozenset())), height_px=HEIGHT_PX)
        return self._explorer

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        if not explorable():
            return {"text/plain": repr(self), "text/html": self._repr_html_()}
        data, _ = self.explorer._repr_mimebundle_() or ({}, {})
        return {**data, "text/plain": repr(self)}

    def _repr_html_(self) -> str | None:
        if explorable():
            return None
        place, _, token = self.address.partition("#")
        inside = f"{place}?embed=1" + (f"#{token}" if token else "")
        return (
            f'<iframe src="{escape(inside)}" width="100%" height="{HEIGHT_PX}" style="border:0" title="tapetum studio">'
            "</iframe>"
            f'<p><a href="{escape(self.address)}" target="_blank">Open the studio in a window of its own</a>. '
            f"An empty frame means that the notebook runs on another computer: {_MISSING}.</p>"
        )


def _ending(server: Any, close: Callable[[], None]) -> Any:
    """Returns the server; when it ends, `close` comes first, so that streams end with their jobs and not in the middle."""
    shut_down = server.shutdown

    async def shutdown(*given: Any, **named: Any) -> None:
        await asyncio.to_thread(close)
        await shut_down(*given, **named)

    server.shutdown = shutdown
    return server


_MISSING = 'pip install "tapetum[notebook]" brings what shows the studio wherever the notebook runs'


def explorable() -> bool:
    """Is this a notebook that can show the explorer?"""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel") and find_spec("anywidget") is not None


def _uvicorn() -> Any:
    try:
        return [import_module(name) for name in ("fastapi", "uvicorn")][-1]
    except ImportError as error:
        raise TapetumError(f'the studio needs {error.name}; pip install "tapetum[studio]" brings what it needs') from error


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        where = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4]
        return socket.create_server(where[:2], family=family, backlog=CONNECTIONS)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise TapetumError(f"{host}:{port} cannot be used ({why}); give another --port, or --port 0 for any") from error


def _host_of(address: str) -> str:
    with contextlib.suppress(ValueError):  # of a bracket without its other
        parts = urlsplit(address)
        plain = address.isprintable() and parts.scheme in ("http", "https") and not parts.query and not parts.fragment
        if plain and parts.hostname:
            return f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    raise TapetumError(f"an address is one such as https://hub.org/user/me/proxy/7860/, not {shown(address)}")


def _site_of(atlas: str | Path | None) -> Path | None:
    if atlas is None:
        return None
    folder = Path(atlas)
    site = folder / "site" if (folder / "site" / "index.html").is_file() else folder
    if not (site / "index.html").is_file():
        raise TapetumError(f"{folder} has no site; `tapetum atlas export {folder}` makes it")
    return site


def _report(folder: str | Path) -> Path:
    page = Path(folder) / "report.html" if Path(folder).is_dir() else Path(folder)
    if not page.is_file():
        raise TapetumError(f"{folder} has no report.html; `tapetum audit`, `explain` and `compare` write one")
    return page
