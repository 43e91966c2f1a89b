"""Prepares an activation atlas for the pages of a site: its data, and the sheets of its cells' pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapetum.atlas.sheets import as_tiles, write_sheets
from tapetum.atlas.units import SIDE_PX, file_stem
from tapetum.types import ActivationAtlas

CLASSES = 1_000
"""Largest number of labels that a page offers; those with most vectors are kept."""


def map_data(atlas: ActivationAtlas, folder: str | Path, numbers: Mapping[int, int], *, tile: int = SIDE_PX) -> dict[str, Any]:
    """Returns the content of data/maps/FILE.js, and writes the sheets folder/FILE-000.webp, ..., named in `sprite.sheets`.

    numbers  {sample: number of its picture on the pages}; other pictures are left out
    tile     side of the tiles in px
    """
    sprite = None
    if atlas.pixels is not None:
        tiles = as_tiles(atlas.pixels.mul(255).round().byte().permute(0, 2, 3, 1).numpy(), atlas.status, tile)
        sprite = write_sheets(tiles, Path(folder), file_stem(atlas.layer))
    cells = [
        {
            **{name: getattr(cell, name) for name in ("row", "column", "count")},
            "tile": i,
            "labels": [list(pair) for pair in cell.labels] or None,
            "units": [list(pair) for pair in cell.units],
            "pictures": [numbers[sample] for sample in cell.pictures if sample in numbers],
            "supports": [list(pair) for pair in cell.supports] or None,
        }
        for i, cell in enumerate(atlas.cells)
    ]
    most = sorted(atlas.classes, key=lambda label: (-sum(count for _, count in atlas.classes[label]), label))[:CLASSES]
    classes = [[label, *(list(pair) for pair in atlas.classes[label])] for label in sorted(most)]
    return {
        "grid": list(atlas.grid),
        "layout": atlas.layout,
        "positions": atlas.positions,
        "cells": cells,
        "classes": classes or None,
        "sprite": sprite,
        "notes": list(atlas.notes),
    }
