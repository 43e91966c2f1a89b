"""`make docs` and `make lessons`: builds the site in docs/_build/site with Sphinx, from the lessons, the guides, and pages
generated from the registry, the docstrings and Typer's help.

--lessons executes the lessons that changed first (numbers after it: only these); without it, those that ran are shown as
they ran. --gallery also explains three free photographs with every method (a quarter of an hour on two cores), draws every
inspection, puts these pictures on the methods' pages, and renders the pictures of units (as long again); --only limits
that to some methods; --out puts the site elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import notebooks
import pages
from bibtex import references
from gallery import Tile, gallery_page, make_tiles, method_pictures
from inspections import Figure, inspections_page, make_figures, shown
from pictures import Shown, make_shelves, pictures_page
from tutorials import lesson_notebook, tutorials_page

import tapetum
from tapetum.course.links import page_of, rewritten
from tapetum.course.scripts import lessons
from tapetum.figures.theme import DARK, LIGHT

BUILDER = Path(__file__).resolve().parent
DOCS = BUILDER.parent
ROOT = DOCS.parent

EXPLANATION = {
    "questions": DOCS / "questions.md",
    "choosing": DOCS / "choosing.md",
    "audit": DOCS / "audit.md",
    "exam": DOCS / "exam.md",
    "limits": DOCS / "limits.md",
    "networks": DOCS / "networks.md",
    "files": DOCS / "files.md",
    "targets": DOCS / "targets.md",
    "objectives": DOCS / "objectives.md",
    "scale": DOCS / "scale.md",
    "architecture": ROOT / "ARCHITECTURE.md",
    "mechanisms": DOCS / "mechanisms.md",
    "contributing": ROOT / "CONTRIBUTING.md",
    "changelog": ROOT / "CHANGELOG.md",
}
HOWTO = {
    **{file.stem: file for file in sorted((DOCS / "howto").glob("*.md"))},
    "scanning": DOCS / "scanning.md",
    "atlas": DOCS / "atlas.md",
}
GUIDES = {f"howto/{name}": file for name, file in HOWTO.items()}
GUIDES |= {f"explanation/{name}": file for name, file in EXPLANATION.items()}


class BuildError(Exception):
    """An error in the site: a broken link, a warning of Sphinx."""


def main() -> int:
    """Builds the site and prints its address."""
    options = argparse.ArgumentParser(description="Build tapetum's documentation.")
    options.add_argument("--lessons", nargs="*", type=int, metavar="N", help="execute the lessons, or only these")
    options.add_argument("--gallery", action="store_true", help="also make a picture of every method")
    options.add_argument("--only", help="methods of the gallery, with commas between")
    options.add_argument("--out", type=Path, default=DOCS / "_build" / "site", help="the folder of the site")
    given = options.parse_args()
    only = given.only.split(",") if given.only else None
    try:
        if given.lessons is not None:
            notebooks.execute(notebooks.chosen(given.lessons))
        print(build(given.out, gallery=given.gallery or only is not None, only=only) / "index.html")
    except (BuildError, notebooks.LessonFailed) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def build(out: Path, *, gallery: bool = False, only: Sequence[str] | None = None) -> Path:
    """Writes the whole site; the folder is replaced only when everything is there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
        source, site = Path(work) / "source", Path(work) / "site"
        write_source(source, gallery=gallery, only=only)
        sphinx(source, site, Path(work) / "doctrees")
        for one in lessons():
            notebooks.write_clean(one, site / "notebooks")
        if out.exists():
            shutil.rmtree(out)
        site.replace(out)
    return out


def write_source(source: Path, *, gallery: bool = False, only: Sequence[str] | None = None) -> None:
    """Writes all sources of Sphinx."""
    shutil.copytree(DOCS / "images", source / "images")
    shutil.copy(DOCS / "static" / "colab.svg", source / "images")
    tiles = make_tiles(source, only) if gallery else {}
    figures = make_figures(source, only) if gallery else {}
    shelves = make_shelves(source, only) if gallery else []
    for name, text in _contents(tiles, figures, shelves).items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text, "utf-8")


def sphinx(source: Path, site: Path, doctrees: Path) -> None:
    """Runs Sphinx in a process of its own; every warning is an error."""
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-j", "2"]
    command += ["-c", BUILDER, "-d", doctrees, source, site]
    colors = {"PALETTES": json.dumps({"light": asdict(LIGHT), "dark": asdict(DARK)})}
    done = subprocess.run(command, env=os.environ | colors, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{done.stdout}{done.stderr}".strip())
    (site / ".nojekyll").touch()  # without it, GitHub's pages skip names that begin with "_"
    (site / ".buildinfo").unlink(missing_ok=True)
    shutil.rmtree(site / "_sources", ignore_errors=True)


def _contents(tiles: Mapping[str, Sequence[Tile]], figures: Mapping[str, Figure], shelves: Sequence[Shown]) -> dict[str, str]:
    """Text of every page, by file."""
    cited = references()
    pictures = {name: method_pictures(name, each) for name, each in tiles.items()}
    pictures |= {name: shown(one) for name, one in figures.items()}
    found = {
        "tutorials/index.md": tutorials_page(),
        "howto/index.md": _part("How-to", "By task, short.", HOWTO),
        "reference/index.md": _part("Reference", "Every method, name and command.", ("methods", "python", "cli", "references")),
        "explanation/index.md": _part("Explanation", "How to think about it, and what it cannot do.", EXPLANATION),
        "reference/methods.md": pages.methods_page(cited),
        "reference/python.md": pages.python_page(cited),
        "reference/cli.md": pages.cli_page(),
        "reference/references.md": pages.references_page(cited),
    }
    for method in tapetum.methods():
        found[f"reference/methods/{method.name}.md"] = pages.method_page(method, cited, pictures.get(method.name, ""))
    for family in pages.family_names():
        found[f"reference/families/{family}.md"] = pages.family_page(family, cited)
    for name, file in GUIDES.items():
        found[f"{name}.md"] = linked(file.read_text("utf-8"), file)
    for one in lessons():
        found[f"tutorials/{one.slug}.ipynb"] = lesson_notebook(one, lambda text, one=one: linked(text, one.file))
    made = {"maps": gallery_page(tiles)} if tiles else {}
    made |= {"inspections": inspections_page(figures)} if figures else {}
    made |= {"pictures": pictures_page(shelves)} if shelves else {}
    found |= {f"gallery/{name}.md": text for name, text in made.items()}
    if made:
        found["gallery/index.md"] = _part("Gallery", "What the methods make of free photographs.", made)
    parts = ["tutorials", "howto", "reference", "explanation", *(["gallery"] if made else [])]
    found["index.md"] = _index_page(parts)
    return found


def _part(title: str, words: str, names: Sequence[str] | Mapping[str, object]) -> str:
    return f"# {title}\n\n{words}\n\n{pages.toctree(list(names))}\n"


def _index_page(parts: Sequence[str]) -> str:
    """Home page: introduction and parts."""
    text = (DOCS / "index.md").read_text("utf-8")
    return f"{linked(text, DOCS / 'index.md')}\n{pages.toctree([f'{part}/index' for part in parts], hidden=True, depth=2)}\n"


# --- links

_FILE_LINK = re.compile(r"\]\((?!\w+:|#|/)(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def linked(text: str, file: Path) -> str:
    """Rewrites the links of a file for Sphinx; a broken one ends the build."""
    places = {path.resolve(): f"/{name}.md" for name, path in GUIDES.items()}
    places[DOCS / "references.bib"] = "/reference/references.md"

    def moved(found: re.Match[str]) -> str:
        target = (file.parent / found["path"]).resolve()
        if target not in places and not target.is_relative_to(DOCS / "images"):
            raise BuildError(f"{file.relative_to(ROOT)}: the link to {found['path']} leads to no page")
        place = places.get(target, f"/images/{target.name}")
        return f"]({place}{found['anchor'] or ''})"

    def written(scheme: str, name: str, words: str) -> str:
        return _site_link(scheme, name, words, file)

    return rewritten(_FILE_LINK.sub(moved, text), written)


def _site_link(scheme: str, name: str, words: str, file: Path) -> str:
    """Converts `api:`, `bib:`, `lesson:`, `howto:`, `studio:` to Sphinx's references, which it checks."""
    try:
        page = page_of(scheme, name)
    except tapetum.TapetumError as error:
        raise BuildError(f"{file.relative_to(ROOT)}: {error}") from None
    if scheme == "api":
        return f"{{py:obj}}`{words.strip('`')} <tapetum.{name}>`"
    if scheme == "bib":
        return f"[{words}](#{name})"
    if scheme == "studio":
        return f"[{words}]({page})"
    return f"[{words}](/{page.replace('.html', '.md' if scheme == 'howto' else '.ipynb')})"


if __name__ == "__main__":
    raise SystemExit(main())
