"""Circuits beside an atlas: the pages that `circuit.write` made of its units, to which the units' pages link."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tapetum.files import contents, shown
from tapetum.reports.circuits import target_of
from tapetum.types import TapetumError

MOST_BYTES = 64_000_000
"""Largest size in bytes of a circuit's page; one of fifty nodes with pictures has less than a million."""


def circuits_in(folder: str | Path, layers: Collection[str]) -> dict[str, Path]:
    """Finds the pages of circuits in a folder and below it: {unit: its page} for units of these layers, "blocks.4.1:5"."""
    place = Path(folder)
    if not place.is_dir():
        raise TapetumError(f"{shown(place)} is no folder; give one with pages that circuit.write or `tapetum circuit` made")
    found: dict[str, Path] = {}
    for page in sorted(place.rglob("*.html")):
        target = target_of(contents(page, MOST_BYTES))
        if target is not None and target.rpartition(":")[0] in layers:
            found[target] = page
    if not found:
        raise TapetumError(f"{shown(place)} holds no page of a circuit of one of the atlas's units, such as {min(layers)}:0")
    return found
