from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from asking import Client, a_studio

from tapetum.studios.serve import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with a_studio() as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    one = Client(server)
    with one.http:
        yield one
