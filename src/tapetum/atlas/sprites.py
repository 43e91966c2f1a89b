"""Small tiles in WebP sheets: each picture as the model saw it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from tapetum import progress
from tapetum.data.images import to_uint8
from tapetum.data.planes import viewable
from tapetum.data.streams import Source
from tapetum.data.streams.base import picture_of
from tapetum.engines.scan.local import cores
from tapetum.keeping.keyed import Kept, Key
from tapetum.models.vision_model import VisionModel
from tapetum.types import ImageError

TILE_PX = 128
COLUMNS = ROWS = 16
SHEET = COLUMNS * ROWS
QUALITY = 80
MOST = 20_000
"""Pictures that an atlas shows at most: 79 sheets, some hundred megabytes."""

MISSING = 128
"""The grey of a picture that could be read when it was scanned, and cannot any more."""


def sheet_name(number: int) -> str:
    return f"{number:03d}.webp"


def sheet_names(pictures: int) -> list[str]:
    return [sheet_name(i) for i in range(-(-pictures // SHEET))]


def write_sheets(model: VisionModel, source: Source, samples: Sequence[int], folder: Path, key: Key) -> None:
    """Sheets of 16 x 16 tiles of 128 px, the last as large as the others; each appears whole, those of the same key stay."""
    kept = Kept(folder, key)
    with ThreadPoolExecutor(cores()) as readers:
        for number, name in enumerate(sheet_names(len(samples))):
            progress.report(number * SHEET, len(samples), "pictures")
            if not _is_sheet(folder / name):
                mine = samples[number * SHEET : (number + 1) * SHEET]
                tiles = list(readers.map(lambda sample: tile(model, source, sample), mine))
                kept.write(name, webp(sheet(tiles)))
    progress.report(len(samples), len(samples), "pictures")


def _is_sheet(file: Path) -> bool:
    """Whether a sheet of ours is there already."""
    return file.is_file() and not file.is_symlink() and file.stat().st_size > 0


def tile(model: VisionModel, source: Source, sample: int) -> NDArray[np.uint8]:
    """(128, 128, 3): the crop that the model sees, made small."""
    try:
        with picture_of(source, sample, model.preprocessing) as pixels:
            seen = viewable(model.preprocessing.crop(pixels))
    except ImageError:
        return np.full((TILE_PX, TILE_PX, 3), MISSING, np.uint8)
    return small(seen)


def small(seen: torch.Tensor) -> NDArray[np.uint8]:
    """A crop (1, 3, h, w) in [0, 1] as a tile."""
    return to_uint8(TF.resize(seen, [TILE_PX, TILE_PX], antialias=True).clamp(0, 1)[0])


def sheet(tiles: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Tile i at column i % 16 of row i // 16; the rest is grey."""
    page = np.full((ROWS * TILE_PX, COLUMNS * TILE_PX, 3), MISSING, np.uint8)
    for i, one in enumerate(tiles):
        top, left = i // COLUMNS * TILE_PX, i % COLUMNS * TILE_PX
        page[top : top + TILE_PX, left : left + TILE_PX] = one
    return page


def webp(pixels: NDArray[np.uint8], quality: int = QUALITY) -> bytes:
    """Pixels (h, w, 3) as a file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()
