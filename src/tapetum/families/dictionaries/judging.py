"""Measures dictionaries on pictures that they were not fitted on, refits them, and measures what chance gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch
from torch import Tensor

from tapetum.engines.dictionaries import decode, encode
from tapetum.engines.ranks import interval, resamples
from tapetum.families.dictionaries.fitting import fitted, random
from tapetum.families.dictionaries.matching import matched
from tapetum.progress import stage, track
from tapetum.types.dictionaries import Dictionary, DictionaryMethod, DictionaryNumbers, Estimate

STARTS = 5
"""Independent starts: refits with another seed, each on another resample of the pictures; and random dictionaries."""

SHUFFLED = 2
"""Refits on shuffled channels: their numbers hardly differ."""

ZERO = 1e-6
"""A code below this share of the dictionary's largest counts as zero: it is rounding."""

CHUNK = 8192


@dataclass(frozen=True, eq=False)
class Rows:
    """Activations (m, c) at places of pictures, and the picture (m,) of each."""

    values: Tensor
    samples: Tensor

    def of(self, keep: Tensor) -> Rows:
        return Rows(self.values[keep], self.samples[keep])

    def split(self, seed: int) -> tuple[Rows, Rows]:
        """Splits by picture: four fifths to fit on, the rest to measure on (at least two pictures)."""
        pictures = self.samples.unique()
        order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed))
        held = pictures[order[: max(2, len(pictures) // 5)]]
        out = torch.isin(self.samples, held)
        return self.of(~out), self.of(out)

    def resampled(self, seed: int) -> Rows:
        """Returns the rows of as many pictures, drawn with repetition."""
        pictures, counts = self.samples.unique_consecutive(return_counts=True)
        drawn = torch.randint(len(pictures), (len(pictures),), generator=torch.Generator().manual_seed(seed))
        starts = counts.cumsum(0) - counts
        keep = torch.cat([torch.arange(int(starts[i]), int(starts[i] + counts[i])) for i in drawn.tolist()])
        return self.of(keep)

    def shuffled(self, seed: int) -> Rows:
        """Returns the rows with the values of every channel dealt out anew, so that channels no longer go together."""
        noise = torch.rand(self.values.shape, generator=torch.Generator().manual_seed(seed))
        return Rows(self.values.gather(0, noise.argsort(0)), self.samples)


@dataclass(frozen=True, eq=False)
class Judged:
    """A dictionary with its numbers, those of chance, and the agreement (n,) of each concept with the other starts."""

    dictionary: Dictionary
    numbers: DictionaryNumbers
    null: DictionaryNumbers
    shuffled: Estimate | None
    agreement: Tensor


def judged(method: DictionaryMethod, rows: Rows, n: int, seed: int) -> Judged:
    """Fits a dictionary on four fifths of the pictures, refits it, and measures it and random ones on the others."""
    train, held = rows.split(seed)
    times = resamples(len(held.samples.unique()), seed)
    with stage("dictionary"):
        main = fitted(method, train.values, n, seed)
    with stage("other starts"):
        others = [
            fitted(method, train.resampled(seed + i).values, n, seed + i) for i in track(range(1, STARTS + 1), STARTS, "fits")
        ]
    agreement = torch.stack([matched(main.directions, one.directions)[0] for one in others])
    numbers = _numbers(main, held, times, agreement, others)
    with stage("random directions"):
        chance = [random(method, train.values, n, seed + i) for i in track(range(1, STARTS + 1), STARTS, "fits")]
    null = _widest([_numbers(one, held, times, _between(chance)) for one in chance])
    return Judged(main, numbers, null, _shuffled(method, train, held, n, seed, times), agreement.mean(0))


def _shuffled(method: DictionaryMethod, train: Rows, held: Rows, n: int, seed: int, times: Tensor) -> Estimate | None:
    if method == "units":
        return None
    found: list[Estimate] = []
    with stage("shuffled channels"):
        for i in track(range(1, SHUFFLED + 1), SHUFFLED, "fits"):
            one = fitted(method, train.shuffled(seed + i).values, n, seed + i)
            found.append(_r2(one, held.shuffled(seed - i), times)[0])
    return _hull(found)


def _between(many: Sequence[Dictionary]) -> Tensor:
    """Returns |cosine| (starts, n) of the concepts of the first dictionary with their partners in each of the others."""
    return torch.stack([matched(many[0].directions, one.directions)[0] for one in many[1:]])


def _numbers(
    one: Dictionary, held: Rows, times: Tensor, agreement: Tensor, others: Sequence[Dictionary] = ()
) -> DictionaryNumbers:
    """Returns the numbers of a dictionary; `others` are those of other starts, with which its dead share is compared.

    Draws of pictures tell nothing of the dead: fewer pictures can only leave more concepts without one.
    """
    r2, active = _r2(one, held, times)
    pictures, which = held.samples.unique(return_inverse=True)
    seen = torch.zeros(len(pictures), len(one), dtype=torch.float64).index_add_(0, which, active.double())
    counts = torch.bincount(which).double()
    low, high = interval(seen.sum(1) / len(one), counts, times).tolist()
    l0 = float(active.double().mean()), low, high
    dead = [_dead(active), *(_dead(_r2(other, held, times)[1]) for other in others)]
    return DictionaryNumbers(r2, l0, (dead[0], min(dead), max(dead)), _mean(agreement.mean(1)))


def _dead(active: Tensor) -> float:
    """Returns the share of concepts that are zero at all places (m, n)."""
    return float(1 - active.any(0).double().mean())


def _r2(one: Dictionary, held: Rows, times: Tensor) -> tuple[Estimate, Tensor]:
    """Returns R2 with its interval over pictures, and which concepts (m, n) are not zero at each place."""
    x = held.values.double()
    codes = torch.cat([encode(one, part) for part in x.split(CHUNK)])
    error = (x - decode(one, codes)).square().sum(1)
    whole = (x - x.mean(0)).square().sum(1)
    pictures, which = held.samples.unique(return_inverse=True)
    sums = torch.zeros(2, len(pictures), dtype=torch.float64).index_add_(1, which, torch.stack([error, whole]))
    low, high = (1 - interval(sums[0], sums[1], times)).flip(-1).tolist()
    size = codes.abs()
    return (float(1 - sums[0].sum() / sums[1].sum()), low, high), size > ZERO * size.max()


def _mean(values: Tensor) -> Estimate:
    """Returns the mean of a few numbers with its interval by Student's t, within [0, 1]."""
    from scipy.special import stdtrit

    many = values.tolist()
    half = float(stdtrit(len(many) - 1, 0.975)) * stdev(many) / math.sqrt(len(many))
    middle = fmean(many)
    return middle, max(0.0, middle - half), min(1.0, middle + half)


def _widest(many: Sequence[DictionaryNumbers]) -> DictionaryNumbers:
    """Returns the mean numbers of several dictionaries, with intervals that hold those of each."""
    return DictionaryNumbers(*(_hull([getattr(one, name) for one in many]) for name in ("r2", "l0", "dead", "agreement")))


def _hull(many: Sequence[Estimate]) -> Estimate:
    return fmean(one[0] for one in many), min(one[1] for one in many), max(one[2] for one in many)
