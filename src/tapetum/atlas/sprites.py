"""Writes small tiles of the pictures, as the model saw them, in WebP sheets."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import functional as TF

from tapetum import progress
from tapetum.atlas.sheets import SHEET, tile_sheet
from tapetum.data.images import to_uint8, webp
from tapetum.data.planes import viewable
from tapetum.data.streams import Source
from tapetum.data.streams.base import picture_of
from tapetum.engines.threads import cores
from tapetum.keeping.keyed import Kept, Key
from tapetum.models.vision_model import VisionModel
from tapetum.types import ImageError

TILE_PX = 128
QUALITY = 80
MOST = 20_000
"""Largest number of pictures that an atlas shows; they take 79 sheets, about a hundred megabytes."""

MISSING = 128
"""Gray level of empty places, and of pictures that have become unreadable since the scan."""


def sheet_names(pictures: int) -> list[str]:
    return [f"{i:03d}.webp" for i in range(-(-pictures // SHEET))]


def write_sprites(model: VisionModel, source: Source, samples: Sequence[int], folder: Path, key: Key) -> None:
    """Writes sheets of 16 x 16 tiles of 128 px; each appears only when complete, and sheets made with the same key are kept."""
    kept = Kept(folder, key)
    with ThreadPoolExecutor(cores()) as readers:
        for number, name in enumerate(sheet_names(len(samples))):
            progress.report(number * SHEET, len(samples), "pictures")
            file = folder / name
            if file.is_symlink() or not file.is_file() or not file.stat().st_size:
                mine = samples[number * SHEET : (number + 1) * SHEET]
                tiles = np.stack(list(readers.map(lambda sample: crop_tile(model, source, sample), mine)))
                kept.write(name, webp(tile_sheet(tiles, np.full(3, MISSING, np.uint8)), QUALITY))
    progress.report(len(samples), len(samples), "pictures")


def crop_tile(model: VisionModel, source: Source, sample: int) -> NDArray[np.uint8]:
    """Returns a tile (128, 128, 3) of the crop that the model sees; a grey one if the picture cannot be read."""
    try:
        with picture_of(source, sample, model.preprocessing) as pixels:
            seen = viewable(model.preprocessing.crop(pixels))
    except ImageError:
        return np.full((TILE_PX, TILE_PX, 3), MISSING, np.uint8)
    return small(seen)


def small(seen: torch.Tensor) -> NDArray[np.uint8]:
    """Returns a crop (1, 3, h, w) in [0, 1] as a tile (128, 128, 3) uint8."""
    return to_uint8(TF.resize(seen, [TILE_PX, TILE_PX], antialias=True).clamp(0, 1)[0])
