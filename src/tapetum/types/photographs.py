"""Preprocessing of photographs step by step, and their colours as numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from tapetum.types.results import Result, axes, saved
from tapetum.types.text import table

MAX_SIDE_PX = 1024
"""Longest side in px of the kept pictures: steps of larger photographs are kept as smaller copies, for display only."""

COLORS = ("red", "green", "blue")


@dataclass(frozen=True, eq=False)
class PreprocessingStep(Result):
    """A picture after one step of preprocessing.

    values   (3, h, w) as they are at this step (of a one-channel model from "normalised" on 1); where the picture is longer
             than `MAX_SIDE_PX`, a smaller copy for display
    shape    of the picture itself
    range    (smallest, largest) of its values
    """

    name: str
    values: Tensor
    shape: tuple[int, ...]
    range: tuple[float, float]


@saved
@dataclass(frozen=True, eq=False)
class PreprocessingWay:
    """One way from a photograph to a network's numbers.

    box        (top, left, bottom, right) of the part that is seen, in pixels of the photograph
    stretched  ratio of width to height that a square of the photograph gets; 1 keeps the proportions
    """

    name: str
    steps: tuple[PreprocessingStep, ...]
    box: tuple[float, float, float, float]
    stretched: float

    def kept(self) -> float:
        """Share of the photograph that the model sees, in [0, 1]."""
        top, left, bottom, right = self.box
        height, width = self.steps[0].shape[-2:]
        return (bottom - top) * (right - left) / (height * width)


@dataclass(frozen=True, eq=False)
class PreprocessingSteps(Result):
    """Preprocessing of photographs into a network's input, in several ways.

    ways   for each photograph its ways, in the same order for all
    mean, std   per channel, in units of pixels in [0, 1]: normalised = (pixels - mean) / std
    """

    ways: tuple[tuple[PreprocessingWay, ...], ...] = field(metadata=axes("n"))
    model: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = []
        for i, way in ((i, way) for i, ways in enumerate(self.ways) for way in ways):
            wide = "" if abs(way.stretched - 1) < 0.02 else f", width x {way.stretched:.2f}"
            for j, step in enumerate(way.steps):
                name, kept = ("", "") if j else (way.name, f"{way.kept():.0%}{wide}")
                rows.append((str(i), name, step.name, " x ".join(map(str, step.shape)), range_of(step), kept))
        return table(("photograph", "way", "step", "shape", "range", "seen of it"), rows)


@dataclass(frozen=True, eq=False)
class ColorChannels(Result):
    """Images as the model saw them, with the numbers of their colour channels.

    photographs   (n, 3, h, w) in [0, 1], as the model saw them
    images        (n, c, h, w) what the network is given: the same, normalised
    places        for each image (row, column) of the upper left cell of a small patch, whose numbers are written out
    patch_px      side of the patch
    """

    photographs: Tensor = field(metadata=axes("n _ _ _"))
    images: Tensor = field(metadata=axes("n _ _ _"))
    places: tuple[tuple[int, int], ...] = field(metadata=axes("n"))
    patch_px: int
    notes: tuple[str, ...] = ()

    def patch(self, i: int) -> Tensor:
        """Returns the patch of image i with its numbers, (3, patch_px, patch_px), from 0 to 255."""
        row, column = self.places[i]
        return self.photographs[i, :, row : row + self.patch_px, column : column + self.patch_px].float() * 255

    def __str__(self) -> str:
        given = self.images if self.images.shape[1] == 3 else self.images.expand(-1, 3, -1, -1)
        rows = [
            (str(i), color, *mean_and_range(pixels[c]), *mean_and_range(values[c]))
            for i, (pixels, values) in enumerate(zip(self.photographs, given, strict=True))
            for c, color in enumerate(COLORS)
        ]
        head = ("image", "channel", "mean", "smallest", "largest", "normalised: mean", "smallest", "largest")
        h, w = self.photographs.shape[-2:]
        return f"{h} x {w} x 3 = {h * w * 3:,} numbers per image\n{table(head, rows)}"


def mean_and_range(values: Tensor) -> tuple[str, str, str]:
    """Writes the mean, the smallest and the largest value."""
    return f"{float(values.mean()):.3f}", f"{float(values.min()):.3f}", f"{float(values.max()):.3f}"


def range_of(step: PreprocessingStep) -> str:
    """Writes the range of a step's values, such as "0.00 to 0.91"."""
    low, high = step.range
    return f"{low:.2f} to {high:.2f}"
