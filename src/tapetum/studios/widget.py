"""`Explorer`: the studio's page in a notebook, through the notebook's own connection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from starlette.types import ASGIApp

from tapetum.studios.messages import Exchanges, WhenFree

SITE = Path(__file__).parent / "site"


class Explorer(anywidget.AnyWidget):
    """Shows the page in a frame of the notebook; its requests are messages of this widget.

    address  state of the page, "#/mattered?...", which a view that is shown again begins with
    """

    _esm = SITE / "widget.js"
    address = traitlets.Unicode("").tag(sync=True)
    height_px = traitlets.Int(760).tag(sync=True)

    def __init__(self, app: ASGIApp, **traits: Any) -> None:
        super().__init__(**traits)
        self._exchanges = Exchanges(app, self._tell, _when_free())
        self.on_msg(self._hear)

    def close(self) -> None:
        """Ends the page's requests and the widget."""
        if hasattr(self, "_exchanges"):
            self._exchanges.close()
        super().close()

    def _hear(self, _: Any, content: dict[str, Any], pieces: Sequence[Any]) -> None:
        self._exchanges.hear(content, b"".join(bytes(piece) for piece in pieces))

    def _tell(self, content: dict[str, Any], piece: bytes) -> None:
        if self.comm is not None:  # closed: nobody is there
            self.send(content, [piece])


def _when_free() -> WhenFree:
    """Returns what calls a function when the loop of this thread, which hears the page, turns once more."""
    try:
        return asyncio.get_running_loop().call_soon_threadsafe
    except RuntimeError:
        return lambda call: call()
