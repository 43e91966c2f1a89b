"""The documentation is true: what it shows runs, what it names exists, and every method has its page."""

from __future__ import annotations

import doctest
import fcntl
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import torch
from docs_builder import BUILDER, module_of
from PIL import Image
from torch import Tensor, nn
from torchvision.models import VisionTransformer

import tapetum as tp
from tapetum.course.scripts import lessons
from tapetum.registry import parameters

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SOURCES = [*(ROOT / "src").rglob("*.py")]
METHODS = {method.name: method for method in tp.methods()}
GUIDES = ("questions", "choosing", "exam", "audit", "networks", "targets", "objectives", "scanning", "scale", "atlas", "limits")
HOWTO = sorted((DOCS / "howto").glob("*.md"))
SLOW = ("rise", "score_cam", "ss_cam", "is_cam")
"""Examples that take more than a second or two on the small network."""


REFERENCES = module_of("bibtex").references()


class Page(HTMLParser):
    """What a page points to, what it loads, and its text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self.pictures: list[dict[str, str]] = []
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[key] for key in ("id", "name") if key in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.loads += [given[key] for key in ("src", "srcset", "data", "poster") if key in given]
        self.loads += [given["href"]] if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon") else []
        self.links += [given["href"]] if tag == "link" else []
        self.pictures += [given] if tag == "img" else []

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` builds it: in a process of its own, without the test run's shape checks; once for all workers."""
    shared = tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else tmp_path_factory.mktemp("docs")
    out = shared / "site"
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not out.exists():
            done = subprocess.run(
                [sys.executable, BUILDER / "build.py", "--out", out], check=False, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file) for file in site.rglob("*.html")}


# --- the site


def test_every_method_has_a_page_with_its_formula_parameters_and_reference(site: Path, pages: dict[Path, Page]) -> None:
    listed = pages[site / "reference" / "methods.html"].links
    for name, method in METHODS.items():
        words = " ".join(pages[site / "reference" / "methods" / f"{name}.html"].text.split())
        assert method.summary.replace("`", "") in words, name
        assert all(parameter.name in words for parameter in parameters(method)), name
        assert all(law in words for law in method.laws), name
        if method.cite is not None:
            assert REFERENCES[method.cite].fields["title"] in words, name
        assert f"methods/{name}.html" in listed


def test_every_public_name_is_in_the_reference(site: Path, pages: dict[Path, Page]) -> None:
    there = pages[site / "reference" / "python.html"].ids
    named = {name for name in vars(tp)["__all__"] if not inspect.ismodule(getattr(tp, name))}
    assert {f"tapetum.{name}" for name in named - METHODS.keys()} <= there


def test_every_command_and_option_is_in_the_reference(site: Path, pages: dict[Path, Page]) -> None:
    import typer

    from tapetum.cli.generated import every_command
    from tapetum.cli.main import app

    words = pages[site / "reference" / "cli.html"].text
    for name, command in every_command(typer.main.get_command(app)):
        options = [] if name.startswith("run ") else [option for param in command.params for option in param.opts]
        assert name.removeprefix("run ") in words
        assert all(option in words for option in options if option.startswith("--")), name


def test_guides_and_lessons_have_their_pages(site: Path, pages: dict[Path, Page]) -> None:
    for name in ("questions", "choosing", "limits", "targets", "objectives", "scale", "architecture", "changelog"):
        assert site / "explanation" / f"{name}.html" in pages
    for file in [*HOWTO, DOCS / "scanning.md", DOCS / "atlas.md"]:
        assert site / "howto" / f"{file.stem}.html" in pages
    for lesson in lessons():
        page = pages[site / "tutorials" / f"{lesson.slug}.html"]
        assert lesson.title in page.text
        assert any("colab.research.google.com" in link for link in page.links)
        assert f"../notebooks/{lesson.slug}.ipynb" in page.links


def test_links_inside_the_site_lead_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for file, page in pages.items():
        for link in (unquote(link) for link in [*page.links, *page.loads] if not re.match(r"[a-z]+:", link)):
            path, _, anchor = link.partition("#")
            target = (file.parent / path.partition("?")[0]).resolve() if path else file
            if not target.is_file() or (anchor and anchor not in pages[target].ids):
                broken.append(f"{file.relative_to(site)}: {link}")
    assert not broken


def test_links_of_the_notebooks_lead_into_the_site(site: Path, pages: dict[Path, Page]) -> None:
    """And they hold no outputs, install the package first, and are the same each time they are written."""
    import tomllib

    home = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Documentation"]
    for lesson in lessons():
        notebook = json.loads((site / "notebooks" / f"{lesson.slug}.ipynb").read_text("utf-8"))
        assert notebook["cells"][1]["source"][0].startswith("%pip install")
        assert not [cell for cell in notebook["cells"] if cell.get("outputs")]
        text = "".join("".join(cell["source"]) for cell in notebook["cells"])
        assert not re.search(r"\]\((api|bib|lesson|howto):", text)
        for path, anchor in re.findall(rf"{re.escape(home)}([^#)]+)(?:#([^)]+))?\)", text):
            assert not anchor or anchor in pages[site / path].ids, f"{lesson.slug}: {path}#{anchor}"


def test_the_site_loads_nothing_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    assert not [load for page in pages.values() for load in page.loads if "//" in load and not load.startswith("data:")]
    for style in site.rglob("*.css"):
        found = re.findall(r"@import|url\((?!['\"]?data:)[^)]*//[^)]*\)", style.read_text("utf-8"))
        assert not found, style


def test_every_picture_has_words_for_who_does_not_see_it(pages: dict[Path, Page]) -> None:
    pictures = [picture for page in pages.values() for picture in page.pictures]
    assert pictures
    assert not [picture["src"] for picture in pictures if not picture.get("alt", "").strip()]


def test_the_site_has_both_palettes_of_the_figures_theme(site: Path) -> None:
    from tapetum.figures.theme import DARK, LIGHT

    page = (site / "index.html").read_text("utf-8")
    assert LIGHT.ink in page
    assert DARK.ink in page


def test_a_link_that_leads_nowhere_ends_the_build() -> None:
    build = module_of("build")
    file = DOCS / "limits.md"
    for link in ("api:no_such_name", "nowhere.md", "https://example.org"):
        if "://" in link:
            assert build.linked(f"[x]({link})", file) == f"[x]({link})"
        else:
            with pytest.raises(build.BuildError, match=r"docs/limits\.md: "):
                build.linked(f"[x]({link})", file)
    assert build.linked("[x](targets.md#classes)", file) == "[x](/explanation/targets.md#classes)"


def test_text_of_docstrings_is_shown_as_it_is() -> None:
    from markdown_it import MarkdownIt

    markup = module_of("markup")
    text = "- a_k * b_k < 2 | `x|y` $5 [n] {z} ~c~ #1 & *p*"
    shown = MarkdownIt("commonmark").render(markup.inline(text))
    assert shown == "<p>- a_k * b_k &lt; 2 | <code>x|y</code> $5 [n] {z} ~c~ #1 &amp; *p*</p>\n"
    row = MarkdownIt("commonmark").enable("table").render(markup.table(("a", "b"), [(markup.inline(text), "`p | q`")]))
    assert "<code>x|y</code>" in row
    assert "<td><code>p | q</code></td>" in row


def test_every_declared_law_is_explained() -> None:
    declared = set().union(*(method.laws for method in METHODS.values()))
    assert declared == set(module_of("pages").LAWS)


# --- references


def test_every_entry_of_the_bibliography_is_read() -> None:
    text = (DOCS / "references.bib").read_text("utf-8")
    assert list(REFERENCES) == re.findall(r"^@\w+\{([^,]+),", text, re.MULTILINE)
    for reference in REFERENCES.values():
        assert {"author", "title", "year"} <= set(reference.fields)
        assert not set("{}") & set(reference.markdown())


def test_accents_are_letters() -> None:
    assert "Viégas" in REFERENCES["smilkov2017smoothgrad"].markdown()


def test_every_cite_key_in_the_code_is_in_the_bibliography() -> None:
    cited = {key for file in SOURCES for key in re.findall(r'cite="([^"]+)"', file.read_text("utf-8"))}
    cited |= {method.cite for method in METHODS.values() if method.cite is not None}
    assert cited <= set(REFERENCES)


# --- README, architecture, guides


@pytest.mark.weights
def test_the_python_examples_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL):
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "cat.png").stat().st_size > 0
    printed = capsys.readouterr().out
    assert "tiger cat" in printed
    assert "class_logit(golden retriever)" in printed


@pytest.mark.parametrize(
    "file",
    [
        "README.md",
        "ARCHITECTURE.md",
        *(f"docs/{name}.md" for name in GUIDES),
        *(f"docs/howto/{file.name}" for file in HOWTO),
    ],
)
def test_files_that_a_page_links_to_exist(file: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not re.match(r"[a-z]+:", link)]
    assert not [link for link in links if not ((ROOT / file).parent / link.partition("#")[0]).exists()]


@pytest.mark.parametrize(
    "file", ["README.md", *(f"docs/{name}.md" for name in GUIDES), *(f"docs/howto/{file.name}" for file in HOWTO)]
)
def test_methods_and_commands_that_a_page_names_exist(file: str) -> None:
    text = (ROOT / file).read_text("utf-8")
    for name in re.findall(r"\btp\.([a-z_]+)", text):
        assert hasattr(tp, name), name
    known = {*METHODS, "activation_maps"}
    for name in re.findall(r"`([a-z]+(?:_[a-z]+)*_(?:cam|gradients|maps|backprop|attribution))`", text):
        assert name in known, name


def test_the_examples_of_every_target_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "targets.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for block in blocks:
            exec(compile(block, "targets.md", "exec"), names)
    assert len(blocks) == 7
    assert "@" in names["surest"].target[0]


@pytest.mark.parametrize(("page", "least"), [("networks", 30), ("files", 25)])
def test_every_line_of_a_page_of_claims_is_held_by_a_test(page: str, least: int) -> None:
    text = (DOCS / f"{page}.md").read_text("utf-8")
    lines = [
        line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| the network", "| the attack"))
    ]
    held = re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)` \|$", text, re.MULTILINE)
    assert len(held) == len(lines) > least
    for file, name in held:
        assert f"def {name}(" in (ROOT / file).read_text("utf-8"), f"{file}::{name}"


@pytest.mark.parametrize(
    "name", ["own-model", "layers", "reproduce", "notebook", "doctor", "sanity", "metrics", "attack", "compare", "concepts"]
)
def test_the_examples_of_how_to_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for block in re.findall(r"```python\n(.*?)```", (DOCS / "howto" / f"{name}.md").read_text("utf-8"), re.DOTALL):
            exec(compile(block, f"{name}.md", "exec"), names)


@pytest.mark.weights
def test_the_example_of_how_to_explain_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image
    from skimage.data import coffee

    monkeypatch.chdir(tmp_path)
    Image.fromarray(coffee()).save("coffee.png")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / "howto" / "explain.md").read_text("utf-8"), re.DOTALL):
        exec(compile(block, "explain.md", "exec"), names)
    compared = names["compared"]
    assert compared.agreement[0, 1] > 0.4
    assert (tmp_path / "compared.png").stat().st_size > 0


def test_the_examples_of_objectives_run_and_every_objective_is_there() -> None:
    text = (DOCS / "objectives.md").read_text("utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "objectives.md", "exec"), names)
    assert f'("{names["made"].objectives[0]}",)' in text
    parts = {"OUTPUT", "Objective", "Seen", "as_objective", "as_objectives", "blurred", "check_needs", "gram"}
    assert not [name for name in set(tp.objectives.__all__) - parts if f"`{name}(" not in text]


def test_the_examples_of_scanning_run_and_every_tracker_is_there(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tapetum.engines.scan import trackers

    monkeypatch.chdir(photos.parent)
    text = (DOCS / "scanning.md").read_text("utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "scanning.md", "exec"), names)
    assert ".png" in capsys.readouterr().out
    assert len(names["positions"].vectors) == 4 * 12
    known = [name for name, one in vars(trackers).items() if isinstance(one, type) and hasattr(one, "merge")]
    assert not [name for name in known if name != "Tracker" and f"| `{name}(" not in text]


def test_the_examples_of_the_atlas_run_and_its_options_exist(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import typer

    from tapetum.cli.atlas import atlas

    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    text = (DOCS / "atlas.md").read_text("utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "atlas.md", "exec"), names)
    assert "atlas/site/index.html" in capsys.readouterr().out
    there = {path.name for path in (tmp_path / "atlas").iterdir()}
    assert not [name for name in there - {".lock"} if f"`{name}" not in text]
    group: Any = typer.main.get_command(atlas)
    options = {option for one in group.complete("build").params for option in (*one.opts, *one.secondary_opts)}
    assert set(re.findall(r"`(--[a-z-]+)`", text)) <= options | {"--out"}


def test_commands_of_the_readme_exist() -> None:
    import typer

    from tapetum.cli.main import app

    known = set(typer.main.get_command(app).list_commands(None))  # type: ignore[attr-defined, arg-type]
    text = (ROOT / "README.md").read_text("utf-8")
    assert set(re.findall(r"^    tapetum ([\w-]+)", text, re.MULTILINE)) <= known


def _tree() -> Iterator[str]:
    """Paths of the tree in ARCHITECTURE.md, relative to the repository."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    block = text[text.index("    src/tapetum/\n") :].partition("\n\n")[0]
    folders: list[tuple[int, str]] = []
    for line in block.splitlines():
        indent, name = len(line) - len(line.lstrip()), line.split()[0]
        folders = [(depth, folder) for depth, folder in folders if depth < indent]
        yield "".join(folder for _, folder in folders) + name
        folders += [(indent, name)] if name.endswith("/") else []


def test_the_tree_of_the_architecture_page_is_the_tree_of_the_code() -> None:
    named = list(_tree())
    assert not [path for path in named if not (ROOT / path).exists()]
    package = ROOT / "src" / "tapetum"
    there = [one for one in package.iterdir() if one.name not in ("__pycache__", "__init__.py", "__main__.py", "py.typed")]
    assert not [str(one) for one in there if not any((ROOT / path) == one for path in named)]


def test_readme_and_architecture_stay_short() -> None:
    for name, most in (("README.md", 120), ("ARCHITECTURE.md", 75), ("CONTRIBUTING.md", 65)):
        assert len((ROOT / name).read_text("utf-8").splitlines()) <= most


def test_the_picture_of_the_readme_is_small() -> None:
    assert (DOCS / "images" / "strip.webp").stat().st_size <= 250_000


# --- examples in docstrings


class Small(nn.Module):
    """Seven blocks with ReLUs for 224 px, named as in the built-in model, so that every example finds its layer."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(3, 4, 4), (4, 4, 1), (4, 6, 2), (6, 6, 1), (6, 8, 2), (8, 8, 1), (8, 8, 2)]
        self.blocks = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(a, b, 3, s, padding=1), nn.ReLU(inplace=True)) for a, b, s in sizes)
        )
        self.linear = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.blocks(images).mean((2, 3)))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve smooth pictures."""
    place = tmp_path_factory.mktemp("docs") / "photos"
    place.mkdir()
    noise = torch.rand(12, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    for i, picture in enumerate(nn.functional.interpolate(noise, 130, mode="bilinear")):
        Image.fromarray((picture * 255).byte().permute(1, 2, 0).numpy()).save(place / f"{i:03d}.png")
    return place


@pytest.fixture(scope="module")
def scope(photos: Path) -> dict[str, Any]:
    """What examples may use: tp, model, images, a vision transformer, and a folder of pictures."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = tp.wrap(Small(), mean=(0.5,) * 3, std=(0.5,) * 3, labels=["tabby", "tiger cat", "lynx"])
        vit = tp.wrap(VisionTransformer(224, 56, 2, 2, 8, 16, num_classes=3), labels=["tabby", "tiger cat", "lynx"])
        given = {"tp": tp, "model": model, "vit": vit, "images": torch.randn(1, 3, 224, 224), "folder": photos}
        return {
            **given,
            "photographs": twenty(photos.with_name("twenty")),
            "conflicts": conflicts(photos.with_name("conflicts")),
        }


def twenty(place: Path) -> Path:
    """A folder of twenty pictures of two classes."""
    for i, picture in enumerate(torch.rand(20, 32, 32, 3, generator=torch.Generator().manual_seed(1))):
        (place / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture * 255).byte().numpy()).save(place / "ab"[i % 2] / f"{i}.png")
    return place


def conflicts(place: Path) -> Path:
    """A folder of pictures that are called as those with the shape of one thing and the texture of another."""
    place.mkdir()
    for name in ("cat1-dog1", "dog2-cat1"):
        Image.new("RGB", (32, 32), (len(name), 90, 200)).save(place / f"{name}.png")
    return place


def _examples() -> Iterator[Any]:
    for name, method in METHODS.items():
        yield pytest.param(method.function, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
    for name in vars(tp)["__all__"]:
        if ">>>" in (getattr(tp, name).__doc__ or "") and name not in METHODS:
            yield pytest.param(getattr(tp, name), id=name)


@pytest.mark.parametrize("thing", list(_examples()))
def test_the_example_of_the_docstring_runs_and_gives_what_it_says(thing: Any, scope: dict[str, Any]) -> None:
    examples = doctest.DocTestParser().get_examples(thing.__doc__)
    assert examples
    names = dict(scope)
    for example in examples:
        mode = "eval" if example.want else "exec"
        result = eval(compile(example.source.strip(), thing.__name__, mode), names)
        if example.want:
            assert repr(result) == example.want.strip()


def test_a_formula_with_an_unknown_command_is_refused() -> None:
    formula = module_of("mathml").formula
    assert "<msup>" in formula("x^{2} \\leq \\lVert y \\rVert", "inline")
    with pytest.raises(ValueError, match="frobnicate is not understood"):
        formula("x \\frobnicate y", "block")


def test_a_number_at_the_start_of_a_text_begins_no_list() -> None:
    escaped = module_of("markup").escaped
    assert [escaped(text) for text in ("0.6 a", "12) b", "- c", "a-1.5", "x_y")] == [
        "0\\.6 a",
        "12\\) b",
        "\\- c",
        "a-1.5",
        "x\\_y",
    ]
