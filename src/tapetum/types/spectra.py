"""Units with the pictures of a data set that activate them most, least, and around zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from tapetum.types.checks import checked_choice, listed, rows_of
from tapetum.types.histograms import Histogram
from tapetum.types.renderings import Rendering
from tapetum.types.results import PARTS, Result, axes
from tapetum.types.scans import GROUPS, Example, Group, ScoreKind
from tapetum.types.text import in_words, table


@dataclass(frozen=True, eq=False)
class UnitExamples(Result):
    """Pictures of a data set with one unit's score on each, best first.

    unit      layer and channel, such as "blocks.3.0:5"
    examples  one per picture
    pictures  (k, 3, h, w) uint8, 0 to 255: what the model saw
    boxes     (k, 4) top, left, bottom, right in px of the pictures: a square around the place of the highest activation; None
              where the layer has no places
    tap       "output", or "pre-activation": the input of the activation function at the layer's end
    """

    unit: str
    examples: tuple[Example, ...] = field(metadata=axes("n"))
    pictures: Tensor = field(metadata=axes("n _ _ _"))
    boxes: Tensor | None = field(default=None, metadata=axes("n _"))
    tap: str = "output"

    def __str__(self) -> str:
        rows = [(one.id, f"{one.score:.4g}", in_words(one.position)) for one in self.examples]
        return table((f"{self.unit} ({self.tap})", "score", "place"), rows)

    @property
    def pixels(self) -> Tensor:
        """Pictures (k, 3, h, w) in [0, 1]."""
        return self.pictures.float() / 255

    def crop(self, row: int) -> Tensor:
        """Returns the square (3, side, side) around a picture's strongest place, in [0, 1]; all of it without places."""
        (row,) = range(len(self))[rows_of(row, len(self), "picture")]
        if self.boxes is None:
            return self.pixels[row]
        top, left, bottom, right = listed(self.boxes[row])
        return self.pixels[row, :, top:bottom, left:right]


@dataclass(frozen=True, eq=False)
class UnitSpectrum(Result):
    """Activation spectrum of one unit: optimised pictures for and against it, and real pictures at four places between.

    minimum, slightly_negative, slightly_positive, maximum   the pictures, best first, as `SpectrumResult` has them
    threshold, around   score that slightly negative and slightly positive pictures are near: zero, or the
                        median of a unit that is never negative
    histogram           of the unit's scores over the data set
    tap                 as for `UnitExamples`
    optimized           two pictures: made for the unit's lowest, and for its highest activation; None if none were made
    optimized_scores    (2,) the unit's score on these two pictures
    """

    unit: str
    minimum: UnitExamples
    slightly_negative: UnitExamples
    slightly_positive: UnitExamples
    maximum: UnitExamples
    threshold: float
    around: Literal["zero", "median"]
    histogram: Histogram
    tap: str = "output"
    optimized: Rendering | None = None
    optimized_scores: Tensor | None = None

    def __str__(self) -> str:
        groups = [(group, self.examples(group).examples) for group in GROUPS]
        rows = [(name.replace("_", " "), *(f"{one.id} {one.score:.3g}" for one in some[:1])) for name, some in groups if some]
        return table((self.unit, f"first of each, threshold {self.threshold:.3g}, {self.around}"), rows)

    def examples(self, group: Group) -> UnitExamples:
        """Returns the pictures at one place of the spectrum."""
        return getattr(self, checked_choice(group, GROUPS, "a group of a spectrum"))


@dataclass(frozen=True, eq=False)
class OfDataSet(Result, kept=False):
    """Base of results about a data set.

    model, source  names of the model and of the source of pictures
    seen           part of a picture that the model sees, in words
    score          a unit's score on a picture: the maximum over the places of its map, or the mean
    n              pictures that were scanned
    skipped        pictures that could not be used: id -> why
    notes          remarks for the reader
    """

    model: str
    source: str
    seen: str
    score: ScoreKind
    n: int
    skipped: Mapping[str, str]
    notes: tuple[str, ...]
    units: tuple[Result, ...] = field(metadata=PARTS)

    def __str__(self) -> str:
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        head = f"{self.n} pictures of {self.source} by {self.model}{skipped}; scores: {self.score} over places"
        return "\n".join([head, *map(str, self.units), *self.notes])


@dataclass(frozen=True, eq=False)
class UnitSpectra(OfDataSet):
    """Activation spectra of some units, in the requested order."""

    units: tuple[UnitSpectrum, ...] = field(metadata=PARTS)


@dataclass(frozen=True, eq=False)
class TopExamples(OfDataSet):
    """The pictures of a data set that activate some units most, with the places of the highest activation.

    crop_px          the side of the crops around those places, of each unit
    receptive_field  the side of the largest area that one place can see, of each unit; None where it is not defined
    """

    units: tuple[UnitExamples, ...] = field(metadata=PARTS)
    crop_px: tuple[int | None, ...]
    receptive_field: tuple[int | None, ...]
