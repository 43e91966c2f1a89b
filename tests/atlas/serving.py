"""A server in a thread of the tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tapetum.atlas.asking import Asking
from tapetum.atlas.serve import Server


@contextmanager
def served(asking: Asking) -> Iterator[Server]:
    with Server(asking) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join()
