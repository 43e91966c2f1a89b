"""The explorer in a real JupyterLab: a kernel, a notebook, headless Chromium."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import tapetum as tp

pytestmark = pytest.mark.browser

CELLS = (
    "import tapetum as tp\npage = tp.studio()\npage",
    "import time\ntime.sleep(1)\njobs = [one.state for one in page.studio.jobs._jobs.values()]\n"
    "print('at', page.explorer.address, 'jobs', jobs, 'open', len(page.explorer._exchanges), 'port', page._socket)",
    "end = time.time() + 60\nasked = ('efficientnet_lite0', 'layer_cam')\n"
    "while asked not in page.studio._seconds and time.time() < end:\n    time.sleep(0.1)\n"
    "print('answered meanwhile:', asked in page.studio._seconds)",
)
TOKEN = "for-this-test"
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a notebook in a JupyterLab of its own."""
    folder = tmp_path_factory.mktemp("lab")
    cells = [
        {"cell_type": "code", "id": f"c{i}", "execution_count": None, "metadata": {}, "outputs": [], "source": text}
        for i, text in enumerate(CELLS)
    ]
    kernel = {"name": "python3", "display_name": "Python", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "files").mkdir()
    (folder / "files" / "n.ipynb").write_text(json.dumps(notebook))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    places = {f"JUPYTER_{what}_DIR": str(folder / what) for what in ("CONFIG", "DATA", "RUNTIME")}
    source = os.pathsep.join([str(Path(tp.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **places, "IPYTHONDIR": str(folder / "ipython"), "PYTHONPATH": source}
    options = [f"port={port}", "port_retries=0", f"root_dir={folder / 'files'}", "open_browser=False", "allow_root=True"]
    command = [sys.executable, "-m", "jupyterlab", f"--IdentityProvider.token={TOKEN}"]
    log = (folder / "log").open("w")
    with log, subprocess.Popen(
        [*command, *(f"--ServerApp.{one}" for one in options)], env=environment, stdout=log, stderr=log
    ) as process:  # fmt: skip
        try:
            _answers(f"http://127.0.0.1:{port}/api/status?token={TOKEN}", process)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


def _answers(address: str, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=10):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("JupyterLab does not start")


class Notebook:
    """The notebook in a browser, and the explorer in it."""

    def __init__(self, page: Any) -> None:
        self.page, self.wrong = page, list[str]()
        self.explorer = page.frame_locator("iframe[title='tapetum studio']")

    def open(self, address: str = "") -> None:
        self.page.goto(address) if address else self.page.reload()
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=WAIT_MS)
        self.page.locator("#jp-main-statusbar", has_text="| Idle").wait_for(timeout=WAIT_MS)

    def run(self, cell: int) -> None:
        self.page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")

    def printed(self, cell: int) -> str:
        self.run(cell)
        output = self.page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".jp-OutputArea-output")
        self.page.locator("#jp-main-statusbar", has_text="| Idle").wait_for()
        output.first.wait_for()
        return output.first.inner_text()

    def sees_in_cell(self, cell: int, text: str) -> None:
        output = self.page.locator(".jp-Notebook .jp-Cell").nth(cell).locator(".jp-OutputArea-output", has_text=text)
        output.first.wait_for(state="attached")

    def press(self, name: str) -> None:
        self.explorer.get_by_role("button", name=name, exact=True).first.click()

    def sees(self, selector: str, text: str | re.Pattern[str] = "") -> Any:
        found = self.explorer.locator(selector, has_text=text).first
        found.wait_for(timeout=WAIT_MS)
        return found


@contextmanager
def opened(browser: Any, lab: str) -> Iterator[Notebook]:
    """A notebook that may ask nobody but its own server, and whose pages may complain of nothing."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page, asked = context.new_page(), []
    notebook = Notebook(page)
    page.set_default_timeout(WAIT_MS)
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda one: asked.append(one.url.replace("ws:", "http:")))
    page.on("console", lambda message: notebook.wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: notebook.wrong.append(str(error)))
    try:
        notebook.open(f"{lab}lab/tree/n.ipynb?token={TOKEN}")
        yield notebook
    finally:
        context.close()
    assert [url for url in asked if not url.startswith((lab, f"blob:{lab}", "data:"))] == []
    assert notebook.wrong == []


def test_the_explorer_answers_in_a_notebook_through_its_own_connection(browser: Any, lab: str) -> None:
    with opened(browser, lab) as notebook:
        notebook.run(0)
        notebook.sees(".bars-of .label", "espresso")
        notebook.sees(".card .mapview canvas")
        notebook.press("Not now")

        # pictures come while one is made; stopped, it waits; closed, it is gone; and no port was ever opened
        notebook.press("Looks for")
        notebook.sees(".live", re.compile(r"step ([3-9]|\d\d)"))
        notebook.press("Stop")
        notebook.sees(".live", "stopped at step")
        # (the verdict on the first map may still be made)
        assert re.search(r"at #/looks_for\S* jobs \[[^]]*'paused'[^]]*\] open [12] port None", notebook.printed(1))
        notebook.press("Stop Visualize")
        assert re.search(r"jobs \[(?![^]]*'paused')[^]]*\] open [01] port None", notebook.printed(1))

        # it answers while the kernel runs a cell
        notebook.run(2)
        notebook.press("Mattered")
        notebook.press("Layer-CAM")
        notebook.sees(".card", "Layer-CAM").locator(".reading", has_text="strongest").wait_for()
        notebook.sees_in_cell(2, "answered meanwhile: True")

        # the notebook's colours are the page's
        ground = "getComputedStyle(document.body).backgroundColor"
        before = notebook.page.frames[1].evaluate(ground)
        notebook.page.evaluate("document.body.style.setProperty('--jp-layout-color0', '#111')")
        assert (before, notebook.page.frames[1].evaluate(ground)) == ("rgb(250, 249, 246)", "rgb(18, 21, 20)")

        # nothing in the frame can ask anybody anything: its policy refuses, and says so
        assert notebook.wrong == []
        assert notebook.page.frames[1].url == "about:srcdoc"
        fetched = notebook.page.frames[1].evaluate(f"fetch('{lab}api/status').then(() => 'answered', error => error.name)")
        assert fetched == "TypeError"
        notebook.wrong.clear()
