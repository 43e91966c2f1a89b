"""Tables that `make bench` writes into pages of the documentation, each between two marks."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def put(page: str, name: str, text: str) -> None:
    """Replaces what stands between the marks of a benchmark in a page of docs, such as "howto/compare.md"."""
    begin, end = f"<!-- made by `make bench`: {name} -->", f"<!-- end: {name} -->"
    path = DOCS / page
    before, rest = path.read_text(encoding="utf-8").split(begin)
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}", encoding="utf-8")
