"""Class folders of small pictures that are one colour each, with noise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def color_folders(place: Path, colors: Mapping[str, tuple[int, int, int]], each: int, spread: float = 12) -> Path:
    """Writes `each` pictures of 8 x 8 px into a folder per class; `spread` is the deviation of the noise in levels."""
    drawn = np.random.default_rng(0)
    for label, color in colors.items():
        (place / label).mkdir(parents=True)
        for i in range(each):
            pixels = np.clip(np.array(color) + drawn.normal(0, spread, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place / label / f"{i}.png")
    return place
