"""Statistics of each unit over a data set: moments, sparsity, correlations, all scores, vectors at random places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from tapetum.types.checks import checked_channel, listed
from tapetum.types.refusals import TapetumError
from tapetum.types.results import Result, saved
from tapetum.types.scans import ScoreKind


@dataclass(frozen=True, eq=False)
class MomentsResult(Result):
    """Mean and standard deviation (c,) float64 of every unit's scores over n pictures.

    mean, sd          of the scores: the maximum of the unit's map on each picture
    map_mean, map_sd  of the map's mean on each picture
    """

    layer: str
    n: int
    mean: Tensor
    sd: Tensor
    map_mean: Tensor
    map_sd: Tensor


@dataclass(frozen=True, eq=False)
class SparsityResult(Result):
    """Shares of places and pictures on which units do not fire.

    sparsity  (c,) float64 in [0, 1]: the share of all places of all n pictures with a value <= 0
    silent    (c,) float64 in [0, 1]: the share of pictures on which the unit's maximum is <= 0
    lowest    (c,) float32: the lowest value at any place of any picture; not below zero where an activation rectifies
    """

    layer: str
    n: int
    sparsity: Tensor
    silent: Tensor
    lowest: Tensor

    @property
    def dead(self) -> list[int]:
        """Indices of the units that fire on no picture."""
        return listed(torch.nonzero(self.silent == 1).flatten())


@saved
class Fires(NamedTuple):
    """A unit's score on a picture, its z-score (sd above the mean), and its percentile (per cent of pictures below)."""

    channel: int
    score: float
    z: float
    percentile: float


@dataclass(frozen=True, eq=False)
class ScoresResult(Result):
    """Every unit's score on every picture.

    scores   (n, c) float32, a row per picture in the order of the source
    samples  (n,) the pictures' numbers in the source, ascending;  ids: sample -> id
    """

    layer: str
    scores: Tensor
    samples: Tensor
    ids: Mapping[int, str] = field(repr=False)
    score: ScoreKind = "max"

    @cached_property
    def _columns(self) -> Tensor:
        """Scores (c, n) of each unit in ascending order."""
        return self.scores.T.sort(dim=1).values.contiguous()

    @cached_property
    def mean(self) -> Tensor:
        """Mean score of each unit, (c,) float64."""
        return self.scores.double().mean(0)

    @cached_property
    def sd(self) -> Tensor:
        """Standard deviation (c,) float64 of each unit's scores in the data set; zero if they are all equal."""
        constant = self._columns[:, 0] == self._columns[:, -1]  # else rounding errors would give such a unit a small sd
        return self.scores.double().std(0, correction=0).masked_fill(constant, 0.0)

    def row(self, picture: int | str) -> int:
        """Returns the row of a picture, which is given by its number in the source or by its id."""
        known = self._rows.get(picture)
        if known is None:
            raise TapetumError(f"no scores of picture {picture!r} at {self.layer}: it was skipped, or is not of this data set")
        return known

    @cached_property
    def _rows(self) -> dict[int | str, int]:
        numbers = {sample: i for i, sample in enumerate(listed(self.samples))}
        return {**numbers, **{self.ids[sample]: i for sample, i in numbers.items()}}

    def z(self, picture: int | str) -> Tensor:
        """Returns z-scores (c,) of one picture: (score - mean) / sd of each unit."""
        return self.z_scores(self.scores[self.row(picture)])

    def percentile(self, picture: int | str) -> Tensor:
        """Returns percentiles (c,) in [0, 100]: the share of pictures with a lower score than this; equal ones count half."""
        return self.percentiles(self.scores[self.row(picture)])

    def fires(self, picture: int | str, k: int = 24) -> list[Fires]:
        """Returns the k units with the largest z-scores on a picture, each with its score and percentile."""
        row = self.scores[self.row(picture)]
        z, percentile = self.z_scores(row), self.percentiles(row)
        order = z.sort(descending=True, stable=True).indices[:k]
        numbers = zip(listed(order), *(listed(one[order]) for one in (row, z, percentile)), strict=True)
        return [Fires(*one) for one in numbers]

    def z_scores(self, scores: Tensor) -> Tensor:
        """Converts scores (..., c) of any pictures to z-scores (score - mean) / sd, float64.

        For a unit with one score on all pictures of the data set: 0 for that score, else plus or minus infinity.
        """
        centered = torch.where(self.sd > 0, scores.double() - self.mean, (scores - self.scores[0]).double())
        return torch.where(centered == 0, 0.0, centered / self.sd)

    def percentiles(self, scores: Tensor) -> Tensor:
        """Converts scores (..., c) of any pictures to their percentiles in this data set, float64."""
        flat = scores.reshape(-1, scores.shape[-1]).T.contiguous()
        lower, not_higher = (torch.searchsorted(self._columns, flat, right=right) for right in (False, True))
        return ((lower + not_higher).double() * 50 / len(self.scores)).T.reshape(scores.shape)


@dataclass(frozen=True, eq=False)
class CoActivationResult(Result):
    """Correlations of units over the same pictures.

    correlation  (c, c) float32 in [-1, 1]: Pearson's, of the units' scores over n pictures; NaN for a unit that is the same
                 on every picture
    """

    layer: str
    n: int
    correlation: Tensor
    score: ScoreKind = "max"

    def neighbors(self, channel: int, k: int = 8) -> list[tuple[int, float]]:
        """Returns (channel, correlation) of the k units that correlate most with this one, the highest correlation first."""
        return self._nearest(channel, k, 1)

    def opposites(self, channel: int, k: int = 8) -> list[tuple[int, float]]:
        """Returns (channel, correlation) of the k units that correlate least with this one, the lowest correlation first."""
        return self._nearest(channel, k, -1)

    def _nearest(self, channel: int, k: int, sign: int) -> list[tuple[int, float]]:
        row = sign * self.correlation[checked_channel(channel, len(self.correlation), self.layer)]
        order = listed(row.nan_to_num(nan=-1.0).sort(descending=True, stable=True).indices)
        found = [(i, sign * float(row[i])) for i in order[: k + 1] if i != channel and float(row[i]) > 0]
        return found[:k]


@dataclass(frozen=True, eq=False)
class PositionsResult(Result):
    """Activation vectors at random places of the pictures, in the order of the source.

    vectors  (m, c) float32 or float16
    samples  (m,) the picture of each;  ids: sample -> id
    places   (m,) flat position, row * width + column on the layer's `grid`
    """

    layer: str
    vectors: Tensor
    samples: Tensor
    places: Tensor
    grid: tuple[int, int] | None
    ids: Mapping[int, str] = field(repr=False)

    @property
    def rows_columns(self) -> Tensor:
        """Row and column (m, 2) of each vector on the layer's grid."""
        width = 1 if self.grid is None else self.grid[1]
        return torch.stack([self.places // width, self.places % width], 1)
