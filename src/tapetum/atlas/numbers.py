"""Turns the result of a scan into arrays by unit, ready for the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.reports.pictures import safe_name, unique
from tapetum.types import GROUPS, Layer, ScanResult

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class ExampleTable:
    """Ranked pictures per unit, (c, k) each: picture numbers (-1: none), scores, flat positions on the layer's grid."""

    picture: Integers
    score: Floats
    place: Integers


@dataclass(frozen=True, eq=False)
class LayerNumbers:
    """Statistics of all units of one layer.

    file        the layer's name as part of file names
    tap         "output", or "pre-activation" where values are read before the activation function
    mean, sd    (c,) mean and standard deviation of the scores over all n pictures (divided by n)
    sparsity    (c,) share of the places of all pictures where the value is <= 0
    signed      whether any unit is negative at any place of any picture
    threshold   (c,) middle of the spectrum: zero, or the median where `median` is true
    histograms  per unit: edges (m + 1), counts (m)
    labels      per unit: (most frequent label of its strongest pictures, how many have it, how many there are), or None
    """

    name: str
    file: str
    kind: str
    grid: tuple[int, int]
    receptive_field: int | None
    stride: int | None
    tap: str
    mean: Floats
    sd: Floats
    sparsity: Floats
    signed: bool
    minimum: Floats
    maximum: Floats
    threshold: Floats
    median: NDArray[np.bool_]
    examples: Mapping[str, ExampleTable]
    histograms: Sequence[tuple[Floats, Integers]]
    labels: Sequence[tuple[str, int, int] | None]

    @property
    def channels(self) -> int:
        return len(self.mean)


def pictures_of(scan: ScanResult, samples: Sequence[int], most: int) -> list[int]:
    """Returns the samples that the atlas shows: all readable ones, or if those are over `most`, examples and some others."""
    if len(samples) <= most:
        return list(samples)
    occur = {one for many in scan.values() for ranking in many[0].rankings.values() for one in ranking.sample.unique().tolist()}
    found = occur - {-1}
    others = [sample for sample in samples if sample not in found]
    return sorted([*found, *others[: max(0, most - len(found))]])


def layer_numbers(
    scan: ScanResult, layers: Sequence[Layer], shown: Sequence[int], labels: Sequence[str | None]
) -> list[LayerNumbers]:
    """Returns the statistics of each layer; `shown` are the samples in the atlas, `labels` the labels of all samples."""
    number = np.full(len(scan.ids) + 1, -1, dtype=np.int64)  # the last entry stands for sample -1, no picture
    number[np.asarray(shown, dtype=np.int64)] = np.arange(len(shown))
    taken: set[str] = set()
    return [_layer(scan, layer, unique(safe_name(layer.name), taken), number, labels) for layer in layers]


def _layer(scan: ScanResult, layer: Layer, file: str, number: Integers, labels: Sequence[str | None]) -> LayerNumbers:
    spectrum, scores, sparsity = scan[layer.name]
    rankings = {group: spectrum.rankings[group] for group in GROUPS}
    drawn = [spectrum.histogram(channel) for channel in range(spectrum.channels)]
    return LayerNumbers(
        name=layer.name,
        file=file,
        kind=layer.kind,
        grid=layer.grid or (1, 1),
        receptive_field=layer.receptive_field,
        stride=layer.stride,
        tap=scan.taps[layer.name],
        mean=scores.mean.numpy(),
        sd=scores.sd.numpy(),
        sparsity=sparsity.sparsity.numpy(),
        signed=bool((sparsity.lowest < 0).any()),
        minimum=spectrum.histograms.low.numpy(),
        maximum=spectrum.histograms.high.numpy(),
        threshold=spectrum.threshold.numpy(),
        median=spectrum.median.numpy(),
        examples={
            group: ExampleTable(number[one.sample.numpy()], one.score.numpy(), one.place.numpy())
            for group, one in rankings.items()
        },
        histograms=[(one.edges.numpy(), one.counts.numpy()) for one in drawn],
        labels=[commonest([labels[i] for i in row if i >= 0]) for row in spectrum.rankings["maximum"].sample.tolist()],
    )


def commonest(labels: Sequence[str | None]) -> tuple[str, int, int] | None:
    """Returns (most frequent label, its count, number of labels); ties go to the first label, None if none occurs twice."""
    counts = Counter(label for label in labels if label is not None)
    label, count = next(iter(counts.most_common(1)), ("", 0))  # ties: the first one counted
    return (label, count, len(labels)) if count > 1 else None


@dataclass(frozen=True, eq=False)
class FireTable:
    """Units with the most unusual scores on each picture, (p, k) each, highest z first; unit -1 where there are fewer.

    z           (score - mean) / sd of the unit over the data set
    percentile  100 * (number of pictures with a lower score + half of those with the same score) / number of pictures
    """

    unit: Integers
    score: Floats
    z: Floats
    percentile: Floats


AT_ONCE = 1024
"""Number of pictures whose z-scores of all units are in memory at once."""


def fires(tables: Sequence[Floats], layers: Sequence[LayerNumbers], rows: Integers, k: int) -> FireTable:
    """Returns each picture's k units with the highest z in all layers; `rows` are the pictures' rows in the tables (n, c)."""
    k = min(k, sum(layer.channels for layer in layers))
    parts = [_strongest(tables, layers, rows[start : start + AT_ONCE], k) for start in range(0, len(rows), AT_ONCE)]
    unit, score, z = (np.concatenate(part) for part in zip(*parts, strict=True))
    unit = np.where(np.isfinite(z), unit, -1)
    percentile = np.full(unit.shape, np.nan)
    first = 0
    for table, layer in zip(tables, layers, strict=True):
        ascending = np.sort(table.T, axis=1)
        for row, column in np.argwhere((unit >= first) & (unit < first + layer.channels)):
            percentile[row, column] = percentile_of(ascending[unit[row, column] - first], float(score[row, column]))
        first += layer.channels
    return FireTable(unit, score, np.where(unit >= 0, z, np.nan), percentile)


def _strongest(tables: Sequence[Floats], layers: Sequence[LayerNumbers], rows: Integers, k: int) -> list[NDArray[Any]]:
    """Returns units, scores and z, (p, k) each, of the k highest z on each picture; ties in the order of the units."""
    shape = (len(rows), k)
    best: list[NDArray[Any]] = [np.full(shape, -1, np.int64), np.zeros(shape, np.float32), np.full(shape, -np.inf)]
    first = 0
    for table, layer in zip(tables, layers, strict=True):
        score = table[rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(layer.sd > 0, (score - layer.mean) / layer.sd, -np.inf)
        unit = np.broadcast_to(np.arange(first, first + layer.channels), z.shape)
        both = [np.concatenate(pair, 1) for pair in zip(best, (unit, score, z), strict=True)]
        order = np.argsort(-both[2], axis=1, kind="stable")[:, :k]
        best = [np.take_along_axis(one, order, 1) for one in both]
        first += layer.channels
    return best


def percentile_of(ascending: Floats, score: float) -> float:
    """Returns the percentile, 0 to 100, of a score among a unit's ascending scores; half of the equal ones count as lower."""
    low, high = (int(np.searchsorted(ascending, score, side)) for side in ("left", "right"))
    return 100 * (low + high) / (2 * len(ascending))
