"""Puts this folder on the path, so that tests can `from zoo import ...`; keeps torch to one thread; one browser for all."""

import gc
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import type_checks
from jaxtyping import config

type_checks.install()

THREADS = int(os.environ.get("TEST_THREADS", "1"))  # tiny networks: a second thread costs more than it brings
torch.set_num_threads(THREADS)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background, and in all programs that tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What imports and collecting make stays to the end, so Python's garbage collector need not search it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A run of one mark imports only the files in which it stands."""
    mark = config.option.markexpr
    if mark not in ("slow", "browser") or not collection_path.name.startswith("test_"):
        return None
    return f"mark.{mark}" not in collection_path.read_text("utf-8") or None


@pytest.fixture(autouse=True)
def _same_beginning() -> Iterator[None]:
    """Every test draws the same numbers alone and among others; one that leaves another number of threads behind changes the
    last bits of all that follow, so it fails.
    """
    torch.manual_seed(0)
    random.seed(0)
    yield
    found = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    assert found == THREADS, f"torch computes with {found} threads after this test"


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As for users: without the checks of types that run in tests alone, so that it is our own checks that refuse."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, the system's. One for all folders: a second driver beside the first one is refused by Playwright."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-quic"])
        yield browser
        browser.close()
