"""Mosaics of four photographs of four classes, as the model sees them, and the share of a map in the right quarter.

After the grid-pointing game of Böhle et al. 2021: each photograph alone is recognised with a probability of at least .95;
four of them, each the model's whole input (224 px), are put into one image of twice the side (448 px). A map of one of the
four classes should be where that class is. Knowing nothing gives .25.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import tapetum as tp

CONFIDENT = 0.95
BESIDE = Path(__file__).parents[2] / "shared" / "data"  # where photographs may lie beside the project
VARIABLE = "TAPETUM_PHOTOS"


@dataclass(frozen=True)
class Mosaic:
    """Four model-ready images in one (1, 3, 2 h, 2 w), row by row, their classes, and the files' names."""

    image: Tensor
    classes: tuple[int, ...]
    files: tuple[str, ...]


def photographs(folder: Path | None = None) -> list[tuple[Path, int]]:
    """(file, class index) of the photographs in `folder`, in $TAPETUM_PHOTOS, or beside the project; [] without any.

    Such a folder holds photos.csv (columns file, imagenet_index) and photos/.
    """
    root = folder or Path(os.environ.get(VARIABLE, BESIDE))
    if not (root / "photos.csv").is_file():
        return []
    with (root / "photos.csv").open() as lines:
        return [(root / "photos" / row["file"], int(row["imagenet_index"])) for row in csv.DictReader(lines)]


def mosaics(model: tp.VisionModel, photos: list[tuple[Path, int]], most: int) -> list[Mosaic]:
    """Up to `most` mosaics, no photograph twice, always the same: confident photographs in an order drawn with seed 0."""
    order = torch.randperm(len(photos), generator=torch.Generator().manual_seed(0)).tolist()
    found: list[Mosaic] = []
    four: list[tuple[Tensor, int, str]] = []
    for path, index in (photos[i] for i in order):
        image = model.preprocess(tp.read_image(path))
        with torch.no_grad():
            probability = model(image).softmax(1)[0, index]
        if probability < CONFIDENT:
            continue
        four.append((image, index, path.name))
        if len(four) == 4:
            images, classes, files = zip(*four, strict=True)
            found.append(Mosaic(_together(images), classes, files))
            four = []
        if len(found) == most:
            break
    return found


def _together(images: tuple[Tensor, ...]) -> Tensor:
    top, bottom = torch.cat(images[:2], dim=3), torch.cat(images[2:], dim=3)
    return torch.cat([top, bottom], dim=2)


def share(heatmap: Tensor, quarter: int) -> float | None:
    """The positive part of a map (h, w) that lies in a quarter (0..3, row by row); None where nothing is positive."""
    positive = heatmap.clamp(min=0).double()
    height, width = (side // 2 for side in heatmap.shape)
    row, column = divmod(quarter, 2)
    inside = positive[row * height : (row + 1) * height, column * width : (column + 1) * width]
    whole = float(positive.sum())
    return float(inside.sum()) / whole if 0 < whole < float("inf") else None
