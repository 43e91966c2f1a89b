"""Pages of the site in headless Chromium, from files: two lessons, built as `make lessons` builds them, and a method's page."""

from __future__ import annotations

import base64
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from tapetum.course import scripts
from tapetum.course.page import write_lesson
from tapetum.course.playing import Played, play

pytestmark = pytest.mark.browser
BUILDER = Path(__file__).resolve().parents[2] / "docs" / "builder"
SIZES = (390, 1280)
SCHEMES = ("light", "dark")
PAGES = (
    "index.html",
    "tutorials/01_numbers.html",
    "tutorials/02_filters.html",
    "reference/methods/grad_cam.html",
    "reference/cli.html",
)

TEXT = """# %% [markdown]
# # {n} · Numbers and *words*
#
# **Found** · about 2 minutes · see [tp.grad_cam](api:grad_cam) and [Selvaraju et al. 2017](bib:selvaraju2017gradcam)
#
# $$L = \\mathrm{{ReLU}}\\Big(\\sum_{{k=1}}^{{K}} \\alpha_k A^k\\Big), \\qquad \\alpha_k = \\frac{{1}}{{hw}} \\sum_{{i,j}}
# \\frac{{\\partial y}}{{\\partial A^k_{{ij}}}}$$
#
# <details><summary>Answer</summary>
#
# It is $x^2$.
#
# </details>

# %%
import tapetum as tp
from tapetum.course import start

here = start({n})
model = here.model("simple_cnn", weights="random")
images = model.preprocess(here.picture("cat"))
here.holds(images.shape[1] == 3, "three colours " + "and many words " * 12)

# %%
tp.show(tp.edge_attribution(model, images, target=0), pixels=model.denormalize(images))
"""


STUB = """# %% [markdown]
# # {n} · A title
#
# **Found** · about 1 minute
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site with two short lessons that have pictures in the place of the first two, and stubs for the others."""
    place = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BUILDER))
        build, notebooks = importlib.import_module("build"), importlib.import_module("notebooks")
        tutorials = importlib.import_module("tutorials")
        course = scripts.lessons()
        patch.setattr(scripts, "scripts_folder", lambda: place / "lessons")
        (place / "lessons").mkdir()
        for one in course:
            text = TEXT if one.number <= 2 else STUB
            (place / "lessons" / one.file.name).write_text(text.format(n=one.number), "utf-8")
        for one in scripts.lessons():
            played = play(one)
            assert not played[-1].error
            if one.number <= 2:
                write_lesson(place / "own.html", one, played, command=f"tapetum lesson {one.number}")
            notebooks._write(_ran(one, played, notebooks), place / f"{one.slug}.ipynb")
        patch.setattr(tutorials.notebooks, "executed", lambda one, *_: notebooks.nbformat.read(place / f"{one.slug}.ipynb", 4))
        build.build(place / "site")
    return place / "site"


def _ran(lesson: scripts.Lesson, played: list[Played], notebooks: Any) -> Any:
    """A notebook with the outputs that a kernel gives."""
    notebook = notebooks.jupytext.read(lesson.file)
    for cell, one in zip(notebook.cells, played, strict=True):
        if one.printed:
            cell.outputs.append(notebooks.nbformat.v4.new_output("stream", text=one.printed))
        if one.picture is not None:
            png, _, width = one.picture
            data = {"image/png": base64.b64encode(png).decode()}
            shown = {"image/png": {"width": width}}
            cell.outputs.append(notebooks.nbformat.v4.new_output("display_data", data, metadata=shown))
    notebook.metadata["tapetum"] = {"fast": False}
    return notebook


class Opened:
    """A page with what it asked for and what it complained about."""

    def __init__(self, browser: Any, file: Path, width: int, scheme: str) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, device_scale_factor=2)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text) if message.type != "log" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_load_state("load")

    def ask(self, script: str) -> Any:
        return self.page.evaluate(script)

    def elsewhere(self) -> list[str]:
        return [url for url in self.requests if not url.startswith(("file:", "data:"))]


@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_pages_fit_the_screen_ask_nothing_of_a_network_and_do_not_complain(
    site: Path, browser: Any, width: int, scheme: str
) -> None:
    for name in (*PAGES, "../own.html"):
        opened = Opened(browser, site / name, width, scheme)
        assert not opened.complaints, name
        assert not opened.elsewhere(), name
        assert opened.ask("document.documentElement.scrollWidth") <= width, name
        light = opened.ask("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).every(v => v > 200)")
        assert light == (scheme == "light"), name
        opened.page.close()


@pytest.mark.parametrize("width", SIZES)
def test_pictures_are_sharp_and_formulas_are_set(site: Path, browser: Any, width: int) -> None:
    for name in ("tutorials/01_numbers.html", "../own.html"):
        opened = Opened(browser, site / name, width, "light")
        pictures = opened.ask(
            """[...document.querySelectorAll("main img, article img")].filter(i => !i.src.endsWith(".svg"))
            .map(i => [i.naturalWidth / i.clientWidth, i.alt])"""
        )
        assert pictures
        for dots, words in pictures:
            assert dots >= 1.95  # two pixels of the picture for each of the page's; sizes are rounded
            assert words.startswith("edge_attribution")
        formulas = opened.ask(
            '[...document.querySelectorAll("math")].map(m => [m.offsetHeight || m.getBoundingClientRect().height])'
        )
        assert len(formulas) == 2
        opened.page.click("summary")
        heights = opened.ask('[...document.querySelectorAll("math")].map(m => m.getBoundingClientRect().height)')
        assert min(heights) > 8
        assert max(heights) > 25  # a fraction, in two lines
        opened.page.close()


def test_search_works_from_files(site: Path, browser: Any) -> None:
    opened = Opened(browser, site / "search.html", 1280, "light")
    opened.page.goto(f"{(site / 'search.html').as_uri()}?q=guided_backprop")
    opened.page.wait_for_selector("#search-results li a")
    found = opened.ask('[...document.querySelectorAll("#search-results li a")].map(a => a.href)')
    assert any("guided_backprop.html" in link for link in found)
    assert not opened.complaints
    assert not opened.elsewhere()


def test_the_notebook_beside_a_lesson_is_its_own(site: Path) -> None:
    cells = json.loads((site / "notebooks" / "02_filters.ipynb").read_text("utf-8"))["cells"]
    assert "start(2)" in "".join("".join(cell["source"]) for cell in cells)
