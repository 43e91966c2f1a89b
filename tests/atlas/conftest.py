"""One made atlas for all tests of pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from made_atlas import Made
from watching import watched


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """2,000 pictures, 20,000 units in its widest layer."""
    return Made(tmp_path_factory.mktemp("atlas") / "a folder's name", pictures=2000, wide=20_000)


@pytest.fixture
def go(browser: Any, made: Made) -> Iterator[Callable[[str], Any]]:
    """Opens an address of the made atlas, "#/..."."""
    with watched(browser, made.folder.as_uri()) as page:

        def to(address: str = "#/") -> Any:
            page.goto("about:blank")
            page.goto((made.folder / "index.html").as_uri() + address)
            page.wait_for_selector("main h1")
            return page

        yield to
