"""Estimates with intervals: shares of variance, nearest neighbours, what can be read linearly, agreement of answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.ranks import interval, resamples
from tapetum.engines.similarity import correlation
from tapetum.engines.statistics import jackknife
from tapetum.types.sanity import STUDENT

GROUPS = 10
"""Parts of the pictures that a jackknife leaves out, one after the other."""

SHUFFLES = 1000
FOLDS = 6
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)
"""Weights of the ridge, as shares of the mean square of the features."""


class Estimate(NamedTuple):
    """A number with its interval of 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        value, low, high = (round(one, 2) + 0.0 for one in self)  # no minus zero
        return f"{value:.2f} ({low:.2f} to {high:.2f})" if low == low else f"{value:.2f}"

    @property
    def percent(self) -> str:
        value, low, high = (100 * max(one, 0.0) for one in self)  # an estimate without bias may be below 0
        return f"{value:.0f} % ({low:.0f} to {high:.0f})" if self.low == self.low else f"{value:.0f} %"


def points(share: float) -> int:
    """Returns a share in whole per cent, never a minus zero."""
    return round(100 * share)


def student(degrees: int) -> float:
    """Returns the 97.5 % quantile of Student's t."""
    return STUDENT[min(degrees, len(STUDENT)) - 1]


def jackknifed(measure: Callable[[Tensor], float], n: int) -> Estimate:
    """Returns measure(all rows) with an interval from leaving out a tenth of the n rows at a time."""
    rows = torch.arange(n)
    whole, k = measure(rows), min(GROUPS, n)
    parts = torch.tensor([measure(rows[rows % k != part]) for part in range(k)], dtype=torch.float64)
    half = student(k - 1) * float(jackknife(parts))
    return Estimate(whole, whole - half, whole + half)


def over_pictures(values: Tensor, seed: int) -> Estimate:
    """Returns the mean of values (n,) with its bootstrap interval."""
    low, high = interval(values, torch.ones_like(values), resamples(len(values), seed)).tolist()
    return Estimate(float(values.mean()), low, high)


def next_of(values: Sequence[float]) -> Estimate:
    """Returns the mean of some random networks' numbers, and the interval in which another one's lies in 95 of 100 cases."""
    found, n = torch.tensor(values, dtype=torch.float64), len(values)
    half = student(n - 1) * float(found.std()) * (1 + 1 / n) ** 0.5 if n > 1 else float("nan")
    return Estimate(float(found.mean()), float(found.mean()) - half, float(found.mean()) + half)


def next_share(values: Sequence[float], n: int) -> Estimate:
    """Returns `next_of` for shares of n pictures, on the scale of their log-odds: the interval stays inside [0, 1]."""
    odds = torch.logit((torch.tensor(values, dtype=torch.float64) * n + 0.5) / (n + 1))
    _, low, high = torch.tensor(next_of(odds.tolist()), dtype=torch.float64).sigmoid().tolist()
    return Estimate(sum(values) / len(values), low, high)


# --- classes and properties


def standardized(features: Tensor) -> Tensor:
    """Returns features (n, c) with mean 0 and variance 1 per channel; constant channels are left out, but never all."""
    spread = features.std(0, correction=0)
    alive = spread > 1e-9 * spread.max().clamp(min=1e-300)
    return ((features - features.mean(0)) / spread)[:, alive] if bool(alive.any()) else torch.zeros(len(features), 1).double()


def class_order(features: Tensor, labels: Tensor) -> float:
    """Returns how often a picture is more like one of its class than like one of another, by features (n, c); .5 by chance.

    The mean, over pictures with both, of the area under the ROC curve of the cosines of standardised features.
    """
    likeness = cosines(features)
    same = (labels[:, None] == labels).fill_diagonal_(False)
    other = labels[:, None] != labels
    found = [
        _order(likeness[i, same[i]], likeness[i, other[i]]) for i in range(len(labels)) if same[i].any() and other[i].any()
    ]
    return sum(found) / len(found) if found else float("nan")


def _order(high: Tensor, low: Tensor) -> float:
    """Returns the share of pairs in which the first is larger; equal ones count half."""
    difference = high[:, None] - low
    return float(((difference > 0).double() + 0.5 * (difference == 0).double()).mean())


def cosines(features: Tensor) -> Tensor:
    """Returns the cosines (n, n) of standardised features (n, c)."""
    x = F.normalize(standardized(features), dim=1)
    return x @ x.T


def regression_share(features: Tensor, properties: Tensor) -> float:
    """Returns the share of the variance of features (n, c) that is linear in properties (n, p), adjusted for their number."""
    x, p = standardized(features), standardized(properties)
    q = torch.linalg.qr(p)[0]
    total, n, m = float(x.square().sum()), len(x), p.shape[1]
    return 1 - (1 - float((q.T @ x).square().sum()) / total) * (n - 1) / max(n - m - 1, 1) if total > 0 else 0.0


# --- nearest neighbours


def neighbours(features: Tensor) -> Tensor:
    """Returns of each picture the most similar other one (n,), by the cosine of standardised features (n, c)."""
    return cosines(features).fill_diagonal_(-2).argmax(1)


def beyond_chance(nearest: Sequence[Tensor], labels: Tensor, seed: int) -> tuple[float, float]:
    """Returns the p-value of the best share, over depths, of neighbours of the same class; and the share by chance.

    Labels are shuffled 1000 times, and the best depth is taken each time.
    """
    generator = torch.Generator().manual_seed(seed)
    best = max(float((labels[one] == labels).double().mean()) for one in nearest)
    drawn = [labels[torch.randperm(len(labels), generator=generator)] for _ in range(SHUFFLES)]
    shares = torch.tensor([[float((some[one] == some).double().mean()) for one in nearest] for some in drawn])
    return float(1 + (shares.amax(1) >= best - 1e-9).sum()) / (1 + SHUFFLES), float(shares.mean())


# --- what can be read


def read_linearly(kernel: Tensor, wanted: Tensor) -> Tensor:
    """Returns the square errors (n,) of targets (n, k) read by ridge regression from features with the kernel (n, n).

    Each sixth is read by a regression on the others, whose ridge is the best on them with each left out.
    """
    n = len(kernel)
    found = torch.zeros(n, dtype=torch.float64)
    for fold in range(FOLDS):
        test = torch.arange(n) % FOLDS == fold
        inner, across, y = kernel[~test][:, ~test], kernel[test][:, ~test], wanted[~test]
        k, mean = _centred(inner), y.mean(0)
        scale = float(k.diagonal().mean()) or 1.0
        weights = min((_weights(k, y - mean, ridge * scale) for ridge in RIDGES), key=lambda one: one[1])[0]
        rows = across - across.mean(1, keepdim=True) - inner.mean(0) + inner.mean()
        found[test] = (rows @ weights + mean - wanted[test]).square().sum(1)
    return found


def _centred(kernel: Tensor) -> Tensor:
    return kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()


def _weights(kernel: Tensor, y: Tensor, ridge: float) -> tuple[Tensor, float]:
    """Returns the weights of a ridge regression with a centred kernel, and its mean square error with each row left out.

    Left out, the error of row i is its own, ridge w_i, by 1 - H_ii = ridge (K + ridge)^-1_ii - 1/n: H also has the mean.
    """
    inverse = torch.linalg.inv(kernel + ridge * torch.eye(len(kernel), dtype=kernel.dtype))
    weights = inverse @ y
    free = (ridge * inverse.diagonal() - 1 / len(kernel)).clamp(min=1e-12)
    return weights, float((ridge * weights / free[:, None]).square().mean())


def explained(errors: Tensor, wanted: Tensor, seed: int) -> Estimate:
    """Returns R^2 = 1 - sum of errors / sum of squares of the targets (n, k) around their mean, with its bootstrap interval."""
    spread = (wanted - wanted.mean(0)).square().sum(1)
    low, high = (1 - interval(errors, spread, resamples(len(errors), seed))).flip(0).tolist()
    return Estimate(1 - float(errors.sum() / spread.sum()), low, high)


def agreement(answers: Tensor, others: Tensor, seed: int) -> Estimate:
    """Returns the correlation of two tables of answers (n, k), each column less its mean over pictures, with an interval."""

    def whole(rows: Tensor) -> float:
        a, b = (one[rows] - one[rows].mean(0) for one in (answers, others))
        return float(correlation(a.flatten()[None], b.flatten()[None]).nan_to_num(nan=0.0))

    return jackknifed(whole, len(answers))
