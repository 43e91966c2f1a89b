"""How long the studio's page takes to answer, in headless Chromium, with the built-in network: `python -m benchmarks studio`.

Every row is a number of repetitions in one session, each with something that was not asked before: another picture, another
unit. Times are taken inside the page, from the click, or from the file's arrival, to the frame that shows the answer.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data

from tapetum.processor import processor

TIMES = 50
CHROMIUM = "/usr/bin/chromium"

IN_PAGE = """
window.until = (shown, from, most = 60000) => new Promise((resolve, reject) => {
  const look = () => {
    const now = performance.now();
    if (shown()) resolve(now - from);
    else if (now - from > most) reject(new Error(`not there after ${most} ms: ${shown}`));
    else requestAnimationFrame(look);
  };
  look();
});
window.one = (selector) => document.querySelector(selector);
window.map = () => one('.card[data-method=grad_cam]');
window.done = (part) => part && !part.querySelector('.stale, .working');
"""


@dataclass(frozen=True)
class Row:
    """One kind of wait: what is measured, and the most milliseconds that 95 % of the repetitions may take."""

    name: str
    most: float
    measure: Callable[[Any, int], float]


def run(times: int = TIMES, strict: bool = False) -> int:
    """Measures every row and prints the table; 1 if one misses its bar under `strict`."""
    from playwright.sync_api import sync_playwright

    print(f"{processor()}, {os.cpu_count()} cores, torch {torch.__version__}, {times} repetitions", flush=True)
    missed = []
    with a_studio() as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        print("| what is waited for | 95 % of times (ms) | median (ms) | longest (ms) | bar (ms) |\n|---|---|---|---|---|")
        for rows, begin in ((PAGE, _opened), (DROPS, _opened), (CLICKS, _opened), (LIVE, _looking)):
            page = begin(browser, address)
            found = _measured(rows, page, times)
            for row, values in zip(rows, found, strict=True):
                p95 = float(np.quantile(values, 0.95))
                missed += [row.name] if p95 > row.most else []
                print(f"| {row.name} | {p95:.0f} | {np.median(values):.0f} | {max(values):.0f} | {row.most:.0f} |", flush=True)
            page.context.close()
        browser.close()
    return 1 if strict and missed else 0


def _measured(rows: Sequence[Row], page: Any, times: int) -> list[list[float]]:
    """Measures the rows in turn, so that they meet the same conditions."""
    found: list[list[float]] = [[] for _ in rows]
    for i in range(times):
        for row, values in zip(rows, found, strict=True):
            values.append(row.measure(page, i))
    return found


@contextmanager
def a_studio() -> Iterator[str]:
    """Runs `tapetum studio` in a process of its own, as people do, and gives the address that it prints."""
    words = [sys.executable, "-m", "tapetum", "studio", "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


# --- pages


def _opened(browser: Any, address: str) -> Any:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.add_init_script(IN_PAGE)
    page.goto(address)
    page.evaluate("until(() => one('.bars-of') && !one('.stale'), performance.now())")
    return page


def _looking(browser: Any, address: str) -> Any:
    page = _opened(browser, f"{address}#/looks_for?unit=blocks.4.2:0")
    page.wait_for_selector("button[aria-label='Next channel']")
    return page


def _first_page(page: Any, i: int) -> float:
    """From the request of the page to the frame that shows its tabs, its photograph and its controls."""
    other = page.context.browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    other.add_init_script(IN_PAGE)
    try:
        other.goto(page.url.partition("#")[0], wait_until="commit")
        return other.evaluate("until(() => one('.question') && one('.shelf .thumbs img')?.complete, 0)")
    finally:
        other.context.close()


def _a_picture(i: int) -> dict[str, Any]:
    """A photograph that the studio has not seen, as a file of 600 x 400 px."""
    noise = np.random.default_rng(i).normal(0, 6, data.coffee().shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(data.coffee() + noise, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=92)
    return {"name": f"{i}.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()}


def _dropped(page: Any, i: int, shown: str) -> float:
    page.evaluate(
        "addEventListener('change', () => { window.from = performance.now(); window.before = one('.shelf .thumbs')"
        ".children.length; }, {once: true, capture: true})"
    )
    page.locator(".shelf input[type=file]").set_input_files(_a_picture(i))
    new = "one('.shelf .thumbs').children.length > before"
    return page.evaluate(f"until(() => {new}, from).then(() => until(() => {shown}, from))")


def _predictions(page: Any, i: int) -> float:
    return _dropped(page, 2 * i, "one('.bars-of') && done(one('.answers-of'))")


def _heatmap(page: Any, i: int) -> float:
    return _dropped(page, 2 * i + 1, "done(map()) && map().querySelector('canvas')")


def _acknowledged(page: Any, i: int) -> float:
    """From a click on another photograph to the frame in which the old result is greyed, or the new one is there."""
    place = 2 + i % 3  # one of the packaged photographs that is not shown
    took = page.evaluate(
        f"""(() => {{ const from = performance.now(), button = one('.shelf .thumbs li:nth-child({place}) button');
        button.click();
        return until(() => button.getAttribute('aria-pressed') === 'true' && (one('.stale') || one('.working') || done(map())),
        from); }})()"""
    )
    page.evaluate("until(() => done(map()), performance.now())")
    return took


def _first_frame(page: Any, i: int) -> float:
    """From the choice of another channel to the first frame of its picture that shows at least one step."""
    return page.evaluate(
        """(() => { const from = performance.now(); one('button[aria-label="Next channel"]').click();
        return new Promise((go) => setTimeout(go, 30)).then(() => until(() => one('.live canvas') &&
        /step [1-9]\\d* of/.test(one('.live').textContent), from)); })()"""
    )


def _stopped(page: Any, i: int) -> float:
    """From a click on Stop to the frame that says that the work stands still, which is checked."""
    took = page.evaluate(
        """(() => { const from = performance.now();
        [...document.querySelectorAll('.live button')].find((one) => one.textContent === 'Stop').click();
        return until(() => [...document.querySelectorAll('.live button')].some((one) => one.textContent === 'Continue'), from);
        })()"""
    )
    page.wait_for_timeout(200)
    before = page.locator(".live").inner_text()
    page.wait_for_timeout(400)
    assert page.locator(".live").inner_text() == before, "it went on"
    return took


PAGE = (Row("the page: from its address to photograph and controls", 1000, _first_page),)
DROPS = (
    Row("predictions, after a picture was dropped", 500, _predictions),
    Row("its first heatmap (Grad-CAM)", 1500, _heatmap),
)
CLICKS = (Row("a sign that a click was taken", 100, _acknowledged),)
LIVE = (
    Row("the first frame of a visualisation", 1000, _first_frame),
    Row("a visualisation that stands still after Stop", 500, _stopped),
)
