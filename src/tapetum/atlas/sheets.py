"""Puts many small pictures into a few WebP sheets of tiles: tile i is at i % (columns * rows) of its sheet, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tapetum.data.images import webp
from tapetum.figures.theme import LIGHT, rgb
from tapetum.figures.tiles import shown_tiles
from tapetum.keeping.whole import write_whole
from tapetum.types import Made

COLUMNS = ROWS = 16
SHEET = COLUMNS * ROWS
QUALITY = 85


class Sprite(TypedDict):
    """Arrangement of tiles on sheets: side of a tile in px, columns and rows of each sheet, names of the sheets' files."""

    tile: int
    columns: int
    rows: int
    sheets: list[str]


def write_sheets(tiles: NDArray[np.uint8], folder: Path, stem: str) -> Sprite:
    """Writes tiles (n, t, t, 3) to folder/STEM-000.webp, ... in sheets of 16 x 16; a single sheet has only the rows it needs.

    Empty places have the colour of paper. Each file appears only when complete; further sheets of an earlier run are deleted.
    """
    n, tile = len(tiles), tiles.shape[1]
    rows = min(ROWS, max(1, -(-n // COLUMNS)))
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{stem}-{i:03d}.webp" for i in range(-(-n // (COLUMNS * rows)))]
    for i, name in enumerate(names):
        page = tile_sheet(tiles[i * COLUMNS * rows : (i + 1) * COLUMNS * rows], paper(), rows)
        write_whole(folder / name, webp(page, QUALITY))
    for old in folder.glob(f"{stem}-[0-9][0-9][0-9].webp"):
        if old.name not in names:
            old.unlink(missing_ok=True)
    return Sprite(tile=tile, columns=COLUMNS, rows=rows, sheets=names)


def tile_sheet(tiles: NDArray[np.uint8], background: NDArray[np.uint8], rows: int = ROWS) -> NDArray[np.uint8]:
    """Returns a sheet with tile i at column i % 16 of row i // 16; empty places have the background's colour."""
    tile = tiles.shape[1]
    page = np.empty((rows * tile, COLUMNS * tile, 3), np.uint8)
    page[:] = background
    for i, one in enumerate(tiles):
        top, left = i // COLUMNS * tile, i % COLUMNS * tile
        page[top : top + tile, left : left + tile] = one
    return page


def as_tiles(pixels: NDArray[np.uint8], status: Sequence[Made], tile: int) -> NDArray[np.uint8]:
    """Returns pictures (n, h, w, 3) as tiles (n, t, t, 3); a picture with a status other than "ok" is replaced by words."""
    found = np.empty((len(pixels), tile, tile, 3), np.uint8)
    for i, one in enumerate(pixels):
        if status[i] != "ok":
            words = shown_tiles(torch.full((3, tile, tile), 0.5), status[i])
            found[i] = words.mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        elif one.shape[:2] == (tile, tile):
            found[i] = one
        else:
            found[i] = np.asarray(Image.fromarray(one).resize((tile, tile), Image.Resampling.LANCZOS))
    return found


def paper() -> NDArray[np.uint8]:
    """Returns the background colour (3,) uint8 of empty tiles."""
    return (np.array(rgb(LIGHT.paper)) * 255).round().astype(np.uint8)
