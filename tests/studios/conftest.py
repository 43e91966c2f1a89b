from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from asking import Client, a_studio, tiny, until
from visiting import visitor

import tapetum as tp
from tapetum.studios.serve import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with a_studio() as server:
        yield server


@pytest.fixture(autouse=True)
def rested(request: pytest.FixtureRequest) -> None:
    """Begins each test of a shared studio when it has no job: it prepares its network, and tests leave work behind."""
    if "server" in request.fixturenames:
        shared: Server = request.getfixturevalue("server")
        until(lambda: len(shared.studio.jobs) == 0, 60)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    one = Client(server)
    with one.http:
        yield one


@pytest.fixture(scope="module")
def model() -> tp.VisionModel:
    return tiny()


@pytest.fixture(scope="module")
def lite() -> tp.VisionModel:
    return tp.load("efficientnet_lite0")


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    with visitor(browser, server) as page:
        yield page
