"""Results of a scan of a data set: examples and activation spectra of each unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from torch import Tensor

from tapetum.types.checks import checked_channel, checked_choice, listed
from tapetum.types.histograms import Histogram, HistogramResult
from tapetum.types.refusals import LayerError
from tapetum.types.results import Result, axes, saved

Group: TypeAlias = Literal["minimum", "slightly_negative", "slightly_positive", "maximum"]
"""The four places of an activation spectrum."""

GROUPS: tuple[Group, ...] = ("minimum", "slightly_negative", "slightly_positive", "maximum")

ScoreKind: TypeAlias = Literal["max", "mean"]
"""A unit's score on a picture: the maximum over the places of its map, or the mean."""


@saved
@dataclass(frozen=True)
class Example:
    """A picture with a unit's score on it.

    id        the picture's name in its source (a path relative to the folder)
    score     the unit's score
    position  (row, column) on the layer's grid where the map is highest; None where the layer has no places
    sample    the picture's number in its source
    """

    id: str
    score: float
    position: tuple[int, int] | None
    sample: int


@dataclass(frozen=True, eq=False)
class Ranking(Result):
    """The k best pictures of every unit in some order, best first: tensors (c, k); sample is -1 where there are fewer than k.

    place is the flat position row * width + column on the layer's grid.
    """

    score: Tensor = field(metadata=axes("c k"))
    sample: Tensor = field(metadata=axes("c k"))
    place: Tensor = field(metadata=axes("c k"))

    def examples(self, channel: int, ids: Mapping[int, str], grid: tuple[int, int] | None) -> list[Example]:
        """Returns the pictures of one unit with their scores."""
        found: list[Example] = []
        rows = zip(*(listed(one[channel]) for one in (self.score, self.sample, self.place)), strict=True)
        for score, sample, place in rows:
            if sample >= 0:
                position = None if grid is None else (place // grid[1], place % grid[1])
                found.append(Example(ids[sample], score, position, sample))
        return found


@dataclass(frozen=True, eq=False)
class TopKResult(Result):
    """The k pictures of a data set on which each unit's score is highest; n pictures were scanned."""

    layer: str
    ranking: Ranking
    ids: Mapping[int, str] = field(repr=False)
    grid: tuple[int, int] | None
    n: int
    score: ScoreKind = "max"
    tap: str = "output"

    def examples(self, channel: int) -> list[Example]:
        """Returns the pictures of one unit, best first; equal scores are in the order of the source."""
        row = checked_channel(channel, len(self.ranking.sample), self.layer)
        return self.ranking.examples(row, self.ids, self.grid)

    @property
    def channels(self) -> int:
        return len(self.ranking.sample)


@dataclass(frozen=True, eq=False)
class SpectrumResult(Result):
    """Every unit's activation spectrum: the true extremes of the data set, and the pictures nearest to a threshold.

    rankings   group -> (c, k) pictures, best first: lowest, nearest below the threshold, nearest above it, highest
    threshold  (c,) zero, or the median for a unit that is never negative (`around` says which)
    around     (c,) True where the threshold is the median
    ids        sample -> id of the pictures that occur
    tap        whether the values are the layer's output, or the input of the activation function at the layer's end
    """

    layer: str
    rankings: Mapping[str, Ranking]
    threshold: Tensor
    median: Tensor
    ids: Mapping[int, str] = field(repr=False)
    grid: tuple[int, int] | None
    n: int
    histograms: HistogramResult
    score: ScoreKind = "max"
    tap: str = "output"

    @property
    def channels(self) -> int:
        return len(self.threshold)

    def examples(self, group: Group, channel: int) -> list[Example]:
        """Returns the pictures of one unit at one of the four places of the spectrum, best first."""
        row = checked_channel(channel, self.channels, self.layer)
        return self.rankings[checked_choice(group, GROUPS, "a group of a spectrum")].examples(row, self.ids, self.grid)

    def minimum(self, channel: int) -> list[Example]:
        """Returns the pictures with the lowest scores of the data set, lowest first."""
        return self.examples("minimum", channel)

    def slightly_negative(self, channel: int) -> list[Example]:
        """Returns the pictures whose scores are nearest below the threshold, nearest first."""
        return self.examples("slightly_negative", channel)

    def slightly_positive(self, channel: int) -> list[Example]:
        """Returns the pictures whose scores are nearest above the threshold, nearest first."""
        return self.examples("slightly_positive", channel)

    def maximum(self, channel: int) -> list[Example]:
        """Returns the pictures with the highest scores of the data set, highest first."""
        return self.examples("maximum", channel)

    def around(self, channel: int) -> Literal["zero", "median"]:
        """Returns the kind of a unit's threshold: the median of its scores if the unit is never negative, else zero."""
        return "median" if bool(self.median[checked_channel(channel, self.channels, self.layer)]) else "zero"

    def histogram(self, channel: int, bins: int = 32) -> Histogram:
        """Returns the distribution of the unit's scores over the data set, with at most `bins` bins."""
        return self.histograms.histogram(channel, bins)


@dataclass(frozen=True, eq=False)
class ScanResult(Mapping[str, Any], Result):
    """Results of a scan: a mapping from each layer to one result per tracker, in the requested order.

    ids      names of all samples, in the order of the source
    skipped  id -> why a picture was left out
    taps     layer -> "output" or "pre-activation"
    seconds  {part: seconds}: of the whole scan, and of decoding, network and trackers in the workers
    key      hash of weights, data, preprocessing and settings, which identifies a cached scan
    resumed  number of pictures that an earlier, interrupted run had done
    """

    results: Mapping[str, tuple[Any, ...]]
    ids: tuple[str, ...] = field(repr=False)
    skipped: Mapping[str, str]
    taps: Mapping[str, str]
    seconds: Mapping[str, float]
    key: str = ""
    resumed: int = 0
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        layers = [f"{layer} ({self.taps[layer]}): {len(found)} results" for layer, found in self.results.items()]
        return "\n".join([f"{self.images} pictures, {len(self.skipped)} skipped", *layers, *self.notes])

    def __getitem__(self, layer: str) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if layer not in self.results:
            raise LayerError(f"'{layer}' was not scanned; there are {', '.join(self.results)}")
        return self.results[layer]

    def __iter__(self) -> Iterator[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __contains__(self, layer: object) -> bool:
        return layer in self.results

    def get(self, layer: str, default: Any = None) -> Any:
        return self.results.get(layer, default)

    @property
    def images(self) -> int:
        """Number of pictures that were scanned."""
        return len(self.ids) - len(self.skipped)
