"""What a command with one result writes and says: figure and arrays; words or report.json, notes, skipped pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapetum.cli.batches import say_skipped
from tapetum.cli.terminal import remark, say, say_file
from tapetum.figures import show
from tapetum.reports.provenance import write_figure
from tapetum.store import save


def write_result(
    work: Path, name: str, found: Any, facts: Mapping[str, Any], files: list[str] | None = None
) -> list[dict[str, Any]]:
    """Writes NAME.png and the arrays in NAME; returns what report.json says of them as "images". `files` are its pictures."""
    write_figure(work / f"{name}.png", show(found), facts)
    save(found, work / name)
    return [{"files": files or [], "picture": f"{name}.png", "result": name}]


def say_result(found: Any, words: str, report: Path, *, as_json: bool) -> None:
    """Prints a result in words, or its report.json, and then its notes and the pictures that were skipped."""
    if as_json:
        say_file(report)
    else:
        say(words)
    for sentence in found.notes:
        remark(sentence)
    say_skipped(getattr(found, "skipped", {}).items(), report.name)
