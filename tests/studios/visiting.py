"""People at the studio: a browser's page at a state, what it says in numbers, and what its buttons bring."""

from __future__ import annotations

import base64
import io
import json
import re
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum as tp
from tapetum.studios.serve import Server

BEEN_HERE = "if (location.protocol !== 'about:') localStorage.setItem('tapetum-toured', '1')"
READING = re.compile(r"(−?[\d,.]+(?:e[−+-]?\d+)?) at row (\d+), column (\d+)")
MADE_S = 60
"""Seconds in which anything is made, on a machine that does other things too."""


@contextmanager
def visitor(
    browser: Any,
    server: Server,
    *,
    width: int = 1440,
    height: int = 900,
    scheme: str = "light",
    new: bool = False,
    failing: str = "",
) -> Iterator[Any]:
    """A page of a browser of its own, which has not been opened yet.

    At the end: it asked for nothing but addresses of the server's, and the console holds no error and no warning, so the
    content security policy forbade nothing. `failing`: what an address that may be refused contains.
    """
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True)
    context.set_default_timeout(1000 * MADE_S)
    if not new:
        context.add_init_script(BEEN_HERE)
    page, own = context.new_page(), place(server)
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda one: wrong.append(said(one)) if one.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    try:
        yield page
    finally:
        context.close()
    assert [url for url in asked if not url.startswith((own, f"blob:{own}", "data:"))] == []
    unlike = [text for text in wrong if not (failing and failing in text)]
    assert unlike == [], unlike


def said(message: Any) -> str:
    return f"{message.text} ({message.location['url']})"


def place(server: Server) -> str:
    return server.address.partition("#")[0]


def packed(value: Any) -> str:
    """JSON as the page's address holds it."""
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")


def go(page: Any, server: Server, state: str = "mattered?model=tiny", *, query: str = "") -> None:
    """Opens the page at a state, and waits until it is there."""
    page.goto("about:blank")
    page.goto(f"{place(server)}{query}#/{state}")
    page.wait_for_selector("main#main h2")


def wait(page: Any, script: str) -> None:
    """Waits until an expression is true; Playwright's own way is eval in the page, which the policy forbids."""
    end = time.monotonic() + MADE_S
    while not page.evaluate(script):
        assert time.monotonic() < end, f"never: {script}"
        page.wait_for_timeout(40)


def idle(page: Any, server: Server) -> None:
    """Waits until the server has had no job for half a second: what a page asks by itself has been answered."""
    end, seen = time.monotonic() + MADE_S, 0
    while seen < 10:
        assert time.monotonic() < end, "jobs never end"
        page.wait_for_timeout(50)
        seen = 0 if len(server.studio.jobs) else seen + 1


def card(page: Any, method: str, target: str = "") -> Any:
    """The card of a method's map, of a class where there are several."""
    found = page.locator(f".card[data-method={method}]")
    return found.filter(has=page.locator(".target", has_text=re.compile(f"^{re.escape(target)}$"))) if target else found


def reading(where: Any) -> tuple[float, int, int]:
    """Value, row and column under a map, once they are there."""
    line = where.locator(".reading").filter(has_text=READING)
    line.wait_for()
    for unready in (".stale", ".working"):  # the map before has numbers, a map so far has them too
        where.locator(unready).wait_for(state="detached")
    return parsed(line.inner_text())


def parsed(text: str) -> tuple[float, int, int]:
    found = READING.search(text)
    assert found, text
    value, row, column = found.groups()
    return float(value.replace("−", "-").replace(",", "")), int(row), int(column)


def answers(where: Any) -> dict[str, float]:
    """Probabilities by class, as the bars say them."""
    rows = where.locator(".bars-of:not(.stale)").first.locator("li")
    rows.first.wait_for()
    return {
        row.locator(".label").inner_text(): float(row.locator(".value").inner_text().split()[-2]) / 100 for row in rows.all()
    }


def predicted(model: tp.VisionModel, photo: Any, k: int = 5) -> dict[str, float]:
    """The same of Python."""
    return {one.label: one.probability for one in tp.predict(model, model.preprocess(tp.read_image(photo)), k=k)[0]}


def heat(maps: Any, row: int = 0) -> np.ndarray:
    """A map as the page shows it: at the size of what the model saw."""
    return maps.heatmap()[row].numpy()


def events(body: str) -> list[tuple[str, Any]]:
    """The events of a streamed answer."""
    blocks = [block.split("\n") for block in body.split("\n\n") if block.startswith("event: ")]
    return [(block[0].removeprefix("event: "), json.loads(block[1].removeprefix("data: "))) for block in blocks]


def exported(page: Any, where: Any, folder: Path) -> Path:
    """Presses Export and unpacks what comes."""
    with page.expect_download() as coming:
        where.get_by_role("button", name="Export").click()
    with zipfile.ZipFile(coming.value.path()) as archive:
        archive.extractall(folder)
    return folder


KEPT = """async id => {
    const asked = indexedDB.open("tapetum-studio");
    await new Promise(done => asked.onsuccess = done);
    const got = asked.result.transaction("files").objectStore("files").get(id);
    await new Promise(done => got.onsuccess = done);
    const bytes = new Uint8Array(await got.result.file.arrayBuffer());
    return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
}"""


def kept(page: Any, name: str) -> np.ndarray:
    """A picture that the page made or was given, from where the browser keeps it."""
    return np.array(Image.open(io.BytesIO(base64.b64decode(page.evaluate(KEPT, name)))))


def png(photo: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "PNG")
    return file.getvalue()


def photograph(seed: int, h: int = 90, w: int = 120) -> np.ndarray:
    """A picture that nobody else has: soft spots of colour."""
    noise = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(seed))
    soft = torch.nn.functional.interpolate(noise, (h, w), mode="bicubic").clamp(0, 1)[0]
    return (255 * soft.movedim(0, -1)).round().to(torch.uint8).numpy()


def bring(page: Any, photo: np.ndarray, name: str = "mine.png") -> None:
    """Chooses a file of one's own."""
    page.get_by_label("Your picture", exact=True).set_input_files({"name": name, "mimeType": "image/png", "buffer": png(photo)})
    page.get_by_role("button", name=f"Remove {name}").wait_for(state="attached")


def number_after(word: str, text: str) -> float:
    """The number that follows a word, as the page writes it."""
    found = re.search(rf"{word} (−?[\d.]+(?:e[−+]?\d+)?)", text)
    assert found, text
    return float(found.group(1).replace("−", "-"))


def ready(model: tp.VisionModel, photo: Any) -> torch.Tensor:
    return model.preprocess([tp.read_image(photo)])


def is_of(reading: tuple[float, int, int], heat: np.ndarray) -> None:
    """What stands under a map is the map's value there; three digits are shown."""
    value, row, column = reading
    assert value == pytest.approx(float(heat[row, column]), rel=0.006, abs=1e-9)


def is_strongest(reading: tuple[float, int, int], heat: np.ndarray) -> None:
    is_of(reading, heat)
    assert reading[0] == pytest.approx(float(heat.max()), rel=0.006)
