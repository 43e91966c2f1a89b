"""The pages with 20,000 units, on small screens, without all that an atlas may lack, and served."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from made_atlas import Made, drawn
from watching import watched

pytestmark = pytest.mark.browser
PAGES = (
    "#/",
    "#/layer/blocks.3.0",
    "#/unit/blocks.3.0:5",
    "#/pictures",
    "#/map/blocks.3.0",
    "#/search/max%20%3E%203",
    "#/layer/none",
)

# Runs before the page's scripts: when were the first tiles there, in ms since the navigation, and painted?
FIRST = """
new MutationObserver((_, watch) => {
  if (!document.querySelector(".grid .tile")) return;
  watch.disconnect();
  requestAnimationFrame(() => requestAnimationFrame(() => (window.firstTiles = performance.now())));
}).observe(document, { childList: true, subtree: true });
"""
# Types a channel and presses Go; answers after how many ms its tile was painted.
JUMP = """channel => new Promise(done => {
  const begin = performance.now();
  const form = document.querySelector(".tools form");
  form.channel.value = channel;
  form.requestSubmit();
  const look = () => {
    const tile = document.querySelector(`[data-place="${channel}"]`);
    const seen = tile && tile.getBoundingClientRect().bottom > 0 && tile.getBoundingClientRect().top < innerHeight;
    if (!seen) return requestAnimationFrame(look);
    requestAnimationFrame(() => done(performance.now() - begin));
  };
  look();
})"""


def test_twenty_thousand_tiles_are_quick(go: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Aims for a machine at rest: first screen < 1 s, jump < .3 s. A busy one may take four times that."""
    page = go()
    page.context.add_init_script(FIRST)
    go("#/layer/wide")
    page.wait_for_function("window.firstTiles")
    first, jump = page.evaluate("firstTiles"), page.evaluate(JUMP, 15_000)
    with capsys.disabled():
        print(f"\n20,000 tiles: first screen {first:.0f} ms, jump to tile 15,000 {jump:.0f} ms")
    assert page.evaluate("document.activeElement.closest('[data-place]').dataset.place") == "15000"
    assert page.locator(".grid li").count() < 300  # the rest exists as height alone
    assert first < 4000
    assert jump < 1200


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (768, "light")])
def test_no_page_is_wider_than_the_screen(browser: Any, made: Made, width: int, scheme: str) -> None:
    with watched(browser, made.folder.as_uri(), width=width, scheme=scheme) as page:
        for address in (*PAGES, "#/picture/" + quote(made.data.ids[3], safe="")):
            page.goto("about:blank")
            page.goto((made.folder / "index.html").as_uri() + address)
            page.wait_for_selector("main h1")
            page.wait_for_timeout(200)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, address


GONE = {"histogram", "classes", "source"}
NULL = {
    "labels",
    "sprites",
    "sprite",
    "neighbors",
    "opposite",
    "receptive_field",
    "stride",
    "weights",
    "weights_sha256",
    "sees",
}


def bare(value: Any) -> Any:
    """Without what the format calls optional: null, or not there at all."""
    if isinstance(value, dict):
        left = {name: one for name, one in value.items() if name not in GONE}
        return {name: None if name in NULL and not isinstance(one, bool) else bare(one) for name, one in left.items()}
    return [bare(one) for one in value] if isinstance(value, list) else value


def test_what_an_atlas_may_lack_is_not_missed(browser: Any, tmp_path: Path) -> None:
    """No labels, renderings, neighbors, histograms, fields; statistics that are not finite; columns without pictures."""
    made = Made(tmp_path, pictures=40)
    for file in (tmp_path / "data").rglob("*.js"):
        ((key, value),) = re.findall(r"\Aatlas\((.*?), (.*)\);\n\Z", file.read_text(), re.DOTALL)
        lacking = bare(json.loads(value))
        if "layer:" in key:
            lacking["sparsity"] = [None] * len(lacking["mean"])
        for unit in lacking if "units:" in key else ():
            unit["spectrum"] = {column: [] for column in unit["spectrum"]}
        file.write_text(f"atlas({key}, {json.dumps(lacking)});\n")
    with watched(browser, tmp_path.as_uri()) as page:
        for address in (*PAGES[:6], "#/picture/" + quote(made.data.ids[3], safe=""), "#/layer/blocks.3.0?sort=sparsity"):
            page.goto("about:blank")
            page.goto((tmp_path / "index.html").as_uri() + address)
            page.wait_for_selector("main h1")
            page.wait_for_timeout(200)
            assert page.locator(".caution").count() == 0, address
        page.goto((tmp_path / "index.html").as_uri() + "#/unit/blocks.3.0:5")
        page.wait_for_selector(".spectrum")
        assert "No picture scored above zero." in page.locator("main").inner_text()
        assert "holds no histogram" in page.locator("main").inner_text()


@contextmanager
def serving(made: Made, folder: Path) -> Iterator[str]:
    """A server that answers as `tapetum atlas serve` does: for the bytes of picture 700, what the atlas says of picture 700."""
    shutil.copytree(made.folder, folder, dirs_exist_ok=True)
    index = folder / "index.html"
    index.write_text(index.read_text().replace("</head>", '<meta name="tapetum-served" content="1">\n</head>'))
    right = (folder / "mine.png").read_bytes()

    class Handler(SimpleHTTPRequestHandler):
        def do_POST(self) -> None:
            known = self.rfile.read(int(self.headers["Content-Length"])) == right
            answer = {"predictions": [["square", 0.75], ["disc", 0.25]], "fires": made.fires()[700], "seen": "data:,"}
            body = json.dumps(answer if known else {"error": "this is no picture"}).encode()
            self.send_response(200 if known else 415)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_served_pages_look_at_your_picture(browser: Any, made: Made, tmp_path: Path) -> None:
    picture, words = tmp_path / "mine.png", tmp_path / "words.txt"
    drawn(made.data, 700).save(picture)
    words.write_text("no picture")
    with serving(made, tmp_path) as address, watched(browser, address, missing=("api/fires",)) as page:
        page.goto(address + "#/pictures")
        page.locator("input[type=file]").set_input_files(picture)
        page.wait_for_selector(".fires .bar")
        names = [text.strip() for text in page.locator(".fires .name").all_inner_texts()]
        assert names == [f"{made.layers[layer].name}:{channel}" for layer, channel, *_ in made.fires()[700]]
        assert "75.0 %" in page.locator(".predictions").inner_text()
        page.locator("input[type=file]").set_input_files(words)
        page.get_by_text("this is no picture").wait_for()
        assert page.locator(".fires").count() == 0


def test_files_alone_offer_no_picture_of_yours(go: Any) -> None:
    page = go("#/pictures")
    page.wait_for_selector(".grid .tile")
    assert page.locator("input[type=file]").count() == 0
