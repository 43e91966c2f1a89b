"""`make docs`: the site in docs/_build, made from the registry, the docstrings, Typer's help and docs/*.md.

--gallery also explains three free photographs with every method (a quarter of an hour on two cores), puts the pictures on
the methods' pages, and makes the pictures that units ask for (as long again); --only limits that to some methods; --out
puts the site elsewhere.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import markup
import pages
from bibtex import references
from gallery import Tile, gallery_page, make_tiles, method_pictures
from pictures import Shown, make_shelves, pictures_page

import tapetum

DOCS = Path(__file__).resolve().parent
GUIDES = {
    "choosing.html": DOCS / "choosing.md",
    "targets.html": DOCS / "targets.md",
    "objectives.html": DOCS / "objectives.md",
    "scanning.html": DOCS / "scanning.md",
    "scale.html": DOCS / "scale.md",
    "atlas.html": DOCS / "atlas.md",
    "limits.html": DOCS / "limits.md",
    "architecture.html": DOCS.parent / "ARCHITECTURE.md",
    "changelog.html": DOCS.parent / "CHANGELOG.md",
}


def main() -> None:
    """Builds the site and says where it is."""
    options = argparse.ArgumentParser(description="Build tapetum's documentation.")
    options.add_argument("--gallery", action="store_true", help="also make a picture of every method")
    options.add_argument("--only", help="methods of the gallery, with commas between")
    options.add_argument("--out", type=Path, default=DOCS / "_build", help="the folder of the site")
    given = options.parse_args()
    only = given.only.split(",") if given.only else None
    print(build(given.out, gallery=given.gallery or only is not None, only=only) / "index.html")


def build(out: Path, *, gallery: bool = False, only: Sequence[str] | None = None) -> Path:
    """Writes the whole site; the folder is replaced only when everything is there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as work:
        site = Path(work) / "site"
        shutil.copytree(DOCS / "images", site / "images")
        (site / "style.css").write_text(markup.stylesheet(), "utf-8")
        tiles = make_tiles(site, only) if gallery else {}
        shelves = make_shelves(site, only) if gallery else []
        for name, (title, body) in _contents(tiles, shelves).items():
            (site / name).parent.mkdir(exist_ok=True)
            (site / name).write_text(markup.page(name, title, body, version=version("tapetum")), "utf-8")
        if out.exists():
            shutil.rmtree(out)
        site.replace(out)
    return out


def _contents(tiles: Mapping[str, Sequence[Tile]], shelves: Sequence[Shown] = ()) -> dict[str, tuple[str, str]]:
    """{page: (title, body)}."""
    cited = references()
    found = {
        "index.html": ("tapetum", pages.index_page(cited, gallery=bool(tiles), made=bool(shelves))),
        "reference.html": ("Python reference", pages.reference_page()),
        "cli.html": ("Command line", pages.cli_page()),
        "references.html": ("References", pages.references_page(cited)),
    }
    for method in tapetum.methods():
        shown = method_pictures(method.name, tiles[method.name]) if method.name in tiles else ""
        found[f"methods/{method.name}.html"] = method.name, pages.method_page(method, cited, shown)
    for family in pages.family_names():
        found[f"families/{family}.html"] = family, pages.family_page(family, cited)
    for name, file in GUIDES.items():
        text = file.read_text("utf-8")
        found[name] = text.partition("\n")[0].removeprefix("# "), markup.markdown(text)
    if tiles:
        found["gallery.html"] = "Gallery", gallery_page(tiles)
    if shelves:
        found["pictures.html"] = "Pictures", pictures_page(shelves)
    return found


if __name__ == "__main__":
    main()
