"""The built pages as files: what they may hold, and whose colors they have."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from made_atlas import SITE

from tapetum.figures.theme import DARK, LIGHT, css_variables


def test_pages_have_the_colors_of_the_theme() -> None:
    style = (Path(__file__).parents[2] / "web/shared/theme.css").read_text(encoding="utf-8")
    for palette in (LIGHT, DARK):
        assert css_variables(palette) in style


def test_the_site_is_three_small_files_that_name_no_other_host() -> None:
    """A classic script, since modules do not load from file://; a few tens of kilobytes, of which 21 kB travel."""
    files = {file.name: file.read_bytes() for file in SITE.iterdir()}
    assert sorted(files) == ["atlas.css", "atlas.js", "index.html"]
    assert b"module" not in files["index.html"]
    hosts = {host for data in files.values() for host in re.findall(rb"https?://([^/\"'`]+)", data)}
    assert hosts <= {b"www.w3.org"}  # the names of SVG and MathML, which are no addresses
    assert len(gzip.compress(files["atlas.js"])) < 21_000


def test_nothing_moves_where_that_is_not_wanted() -> None:
    assert "prefers-reduced-motion:reduce" in (SITE / "atlas.css").read_text().replace(" ", "")
