"""A lesson without Jupyter: cells run as in a notebook, and what came of them is one page that needs nothing else."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from tapetum.cli import main
from tapetum.course import scripts
from tapetum.course.links import page_of, rewritten, to_site
from tapetum.course.page import markdown
from tapetum.course.playing import play
from tapetum.runners import keep_large_blocks
from tapetum.types import Cancelled, TapetumError

LESSON = """# %% [markdown]
# # 3 · Squares
#
# **Found** · about 4 minutes
#
# You will see that $a_i^2 \\geq 0$ with [tp.edge_attribution](api:edge_attribution).

# %%
import tapetum as tp
from tapetum.course import start

here = start(3)
model = here.model("simple_cnn", weights="random")
images = model.preprocess(here.picture("cat"))
here.see(model.name == "simple_cnn", "a small network")
f"<{here.quick('few', full='many')}>"

# %% [markdown]
# ## A map
#
# <details><summary>Answer</summary>
#
# `yes`
#
# </details>

# %%
tp.show(tp.edge_attribution(model, images, target=0), pixels=model.denormalize(images))

# %%
1 + 1;

# %%
print("before")
here.holds(images.shape[1] == WRONG, "three colours")

# %%
print("never")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course of one lesson whose last check fails."""
    place = tmp_path / "lessons"
    place.mkdir()
    (place / "03_squares.py").write_text(LESSON.replace("WRONG", "4"), "utf-8")
    monkeypatch.setattr(scripts, "scripts_folder", lambda: place)
    monkeypatch.chdir(tmp_path)
    return place


class Page(HTMLParser):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_cells_say_where_they_stand_and_what_they_are(folder: Path) -> None:
    lesson = scripts.lesson(3)
    assert (lesson.number, lesson.title, lesson.minutes, lesson.slug) == (3, "Squares", 4, "03_squares")
    lines = LESSON.splitlines()
    for cell in lesson.cells:
        assert lines[cell.line - 1].removeprefix("# ") == cell.text.splitlines()[0]
    assert [cell.kind for cell in lesson.cells] == ["markdown", "code", "markdown", "code", "code", "code", "code"]


def test_cells_are_those_that_jupytext_reads(folder: Path) -> None:
    jupytext = pytest.importorskip("jupytext")
    for file in [*folder.glob("*.py"), *(Path(__file__).parents[2] / "lessons").glob("[0-9][0-9]_*.py")]:
        theirs = [(cell.cell_type, cell.source.strip()) for cell in jupytext.read(file).cells]
        assert [(cell.kind, cell.text.strip()) for cell in scripts.read_lesson(file).cells] == theirs


def test_a_lesson_stops_at_the_cell_that_fails_and_shows_what_a_notebook_shows(folder: Path) -> None:
    keep_large_blocks()  # a lesson sets the allocator of its process, once, by the environment too
    before = dict(os.environ)
    said: list[str] = []
    played = play(scripts.lesson(3), fast=True, said=said.append)
    assert said == ["\N{CHECK MARK} a small network"]
    assert played[1].text == "'<few>'"
    assert played[3].picture is not None
    png, title, width = played[3].picture
    file = folder / "map.png"
    file.write_bytes(png)
    with Image.open(file) as picture:
        assert picture.width == pytest.approx(2 * width, abs=2)  # sharp at 2x; each size is rounded by itself
        assert picture.text["Title"] == title  # type: ignore[attr-defined]
    assert title.startswith("edge_attribution")
    assert (played[4].text, played[4].printed) == ("", "")
    assert "three colours" in played[-1].error
    assert len(played) == 6
    assert dict(os.environ) == before


def test_the_learners_settings_reach_the_lesson_and_leave_the_environment_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESSON_FAST", "1")
    played = play(scripts.lesson(3), model="simple_cnn", weights="random")
    assert played[1].text == "'<many>'"  # what is asked for, whatever the environment said before
    assert os.environ["LESSON_FAST"] == "1"


def test_a_watcher_stops_a_lesson(folder: Path) -> None:
    from tapetum.progress import watching

    with watching(lambda event: event.done < 1 or event.unit != "cells"), pytest.raises(Cancelled):
        play(scripts.lesson(3))


def test_the_command_writes_one_page_that_needs_nothing_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["lesson", "3", "--quick", "--out", "pages"])
    output = capsys.readouterr()
    assert end.value.code == 1  # its last check fails
    assert output.out.splitlines() == ["\N{CHECK MARK} a small network", "pages/03_squares.html"]
    assert re.fullmatch(r"tapetum: lesson 3 stopped in the cell at line \d+: .*three colours\n", output.err)
    page = Page(Path("pages/03_squares.html"))
    words = " ".join(page.text.split())
    for part in ("3 · Squares", "before", "a small network", "three colours", "tapetum lesson 3 --quick"):
        assert part in words
    names = [name for name, _ in page.tags]
    assert {"math", "details", "img"} <= set(names)
    pictures = [given for name, given in page.tags if name == "img"]
    assert all(given["src"].startswith("data:image/png;base64,") and given["alt"] for given in pictures)
    assert not {"script", "link", "iframe"} & set(names)
    assert [path.name for path in Path("pages").iterdir()] == ["03_squares.html"]


def test_the_command_lists_lessons_and_refuses_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, status in ((["lesson"], 0), (["lesson", "9"], 2), (["lesson", "3", "--weights", "random"], 2)):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == status
    output = capsys.readouterr()
    assert output.out == "  3  Squares  (about 4 minutes)\n"
    assert output.err.splitlines() == [
        "tapetum: no lesson 9; there are 3 (`tapetum lesson` lists them)",
        "tapetum: --weights are those of --model; give both",
    ]


def test_a_script_without_a_title_is_refused(folder: Path) -> None:
    (folder / "04_nameless.py").write_text("# %%\n1 + 1\n", "utf-8")
    with pytest.raises(TapetumError, match=r"04_nameless\.py: the first cell"):
        scripts.lessons()


def test_links_say_what_they_mean(folder: Path) -> None:
    text = "[a](api:grad_cam) [b](api:show) [c](bib:x2020) [d](lesson:3) [e](howto:layers) [f](https://example.org)"
    assert to_site(text, "https://site/").split(") ")[:3] == [
        "[a](https://site/reference/methods/grad_cam.html",
        "[b](https://site/reference/python.html#tapetum.show",
        "[c](https://site/reference/references.html#x2020",
    ]
    assert to_site(text, None) == "a b c d e [f](https://example.org)"
    assert page_of("lesson", "3") == "tutorials/03_squares.html"
    assert rewritten(text, lambda scheme, name, words: scheme) == "api api bib lesson howto [f](https://example.org)"
    state = "mattered?methods=grad_cam,rise&pictures=cat"
    for site in ("https://site/", None):
        assert to_site(f"[g](studio:{state})", site) == f"[g](http://127.0.0.1:7860/#/{state})"
    wrong = (("api", "no_such_name"), ("lesson", "99"), ("studio", "mattered?methods=grad_camm"), ("studio", "nowhere"))
    for scheme, name in (*wrong, ("studio", "found?pictures=dog")):
        with pytest.raises(TapetumError, match=name.rpartition("=")[2]):
            page_of(scheme, name)


def test_formulas_become_mathml_and_dollars_stay_dollars() -> None:
    html = markdown("It costs 5 $ or 6 $, and\n\n$$\\sum_k a_k$$\n\ninside $x_1$.")
    assert html.count("<math") == 2
    assert 'display="block"' in html
    assert "5 $ or 6 $" in html


def test_what_a_lesson_has_no_use_for_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["lesson", "3", "--data", "mine", "--out", "pages"])
    assert end.value.code == 2
    assert "lesson 3 has no use for --data; it takes --model and --image" in capsys.readouterr().err
    assert not Path("pages").exists()
