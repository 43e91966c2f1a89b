"""Finds units that fire together: exact correlations of their scores over all pictures, however the data set is divided.

Sums of products of floats depend on their order, so scores are first rounded to whole multiples of a step. The step may depend
only on the picture (or results would depend on how the data set is divided), should be the same for most pictures (scaling each
picture by its own strongest unit would change the correlation), and has to follow the network's scale, which is unknown
beforehand. It is therefore a power of two, 16^level 2^-19, where 16^(level - 1) <= the picture's largest magnitude < 16^level.
Each level has one table of products; a data set has few levels, and their tables are combined at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tapetum.engines.scan.trackers import sample_rows
from tapetum.engines.scan.trackers.base import Context, OfScores, SeenBatch, State
from tapetum.types import CoActivationResult, TapetumError

MOST = 8192
"""Largest number of units: the table of products takes 8 bytes x units x units."""

BITS = 19
"""Rounded scores are whole numbers of at most 2^19."""

OCTAVES = 4
"""Powers of two per level: the largest magnitude of a picture is at least 2^(19 - 4) steps."""

PICTURES = 1 << (63 - 2 - 2 * BITS)
"""Number of products of up to 2^38 whose sum fits into an int64, with two spare bits for `_centered`."""

ROWS = 1 << (53 - 2 * BITS)
"""Number of products of up to 2^38 whose sum is exact in float64."""


@dataclass(frozen=True)
class CoActivation(OfScores):
    """Keeps which units have high scores on the same pictures: Pearson's correlation of their scores over the data set.

    correlation_ij = c_ij / sqrt(c_ii c_jj), c_ij = sum_p (s_pi - mean_i) (s_pj - mean_j) over pictures p. Scores are rounded
    to steps between 2^-15 and 2^-19 of the largest magnitude in their picture; sums are exact, so that the result has the
    same bits however the data set is divided. A unit whose standard deviation is below a step counts as constant.

    memory   8 bytes x units x units per level of scale (most data sets have one or two); as long as there are fewer pictures
             than units, the scores themselves. More than 8192 units are refused.
    """

    def start(self, channels: int) -> State:
        if channels > MOST:
            raise TapetumError(f"CoActivation takes at most {MOST} units, not {channels}: correlate some columns of tp.Scores")
        none, sums = torch.zeros(0, dtype=torch.int64), torch.zeros(0, channels, dtype=torch.int64)
        waiting: State = {"samples": none, "scores": torch.zeros(0, channels)}
        products = sums[:, None].expand(0, channels, channels)
        return {**waiting, "levels": none, "counts": none, "sums": sums, "products": products}

    def update(self, state: State, seen: SeenBatch) -> State:
        one = self.start(seen.peak.shape[1])
        return self.merge(state, {**one, "samples": seen.samples, "scores": seen.score(self.score) + 0.0})

    def merge(self, a: State, b: State) -> State:
        """Merges two states; a state holds raw scores up to as many pictures as units, and sums of products beyond that."""
        waiting = sample_rows.merged(*({name: one[name] for name in ("samples", "scores")} for one in (a, b)))
        folded = _added(a, b)
        counted = int(folded["counts"].sum())
        if counted + len(waiting["samples"]) > PICTURES:
            raise TapetumError(f"CoActivation adds up at most {PICTURES} pictures exactly: scan fewer, with limit=")
        if counted + len(waiting["samples"]) > waiting["scores"].shape[1]:
            folded = _added(folded, _products(waiting["scores"]))
            waiting = {name: rows[:0].clone() for name, rows in waiting.items()}
        return {**waiting, **folded}

    def result(self, state: State, context: Context) -> CoActivationResult:
        whole = _added(state, _products(state["scores"]))
        n = int(whole["counts"].sum())
        return CoActivationResult(context.layer, n, _correlation(whole), self.score)


SUMS = ("counts", "sums", "products")


def levels(scores: Tensor) -> Tensor:
    """Returns the level (n,) int64 of each picture: the exponent of the power of 16 just above its largest magnitude."""
    exponent = torch.frexp(scores.abs().amax(1)).exponent.long()  # largest < 2^exponent
    return torch.div(exponent + OCTAVES - 1, OCTAVES, rounding_mode="floor")


def steps(level: int) -> float:
    return 2.0 ** (OCTAVES * level - BITS)


def _products(scores: Tensor) -> State:
    """Returns counts, sums and sums of products of rounded scores (n, c), per level."""
    level = levels(scores) if len(scores) else torch.zeros(0, dtype=torch.int64)
    found, c = level.unique(), scores.shape[1]
    sums, products = torch.zeros(len(found), c, dtype=torch.int64), torch.zeros(len(found), c, c, dtype=torch.int64)
    for i, one in enumerate(found.tolist()):
        numbers = (scores[level == one].double() / steps(one)).round()
        sums[i] = numbers.sum(0).long()
        for rows in numbers.split(ROWS):  # whole numbers below 2^53 all the way: floats add them up exactly
            products[i] += (rows.T @ rows).long()
    counts = torch.stack([(level == one).sum() for one in found]) if len(found) else level
    return {"levels": found, "counts": counts, "sums": sums, "products": products}


def _added(a: State, b: State) -> State:
    """Adds the counts, sums and products of two states, level by level."""
    parts = [{name: one[name] for name in ("levels", *SUMS)} for one in (a, b)]
    if not len(a["levels"]) or not len(b["levels"]):
        return parts[0] if len(a["levels"]) else parts[1]
    if torch.equal(a["levels"], b["levels"]):
        return {"levels": a["levels"], **{name: a[name] + b[name] for name in SUMS}}
    found, where = torch.cat([a["levels"], b["levels"]]).unique(return_inverse=True)
    added = {name: a[name].new_zeros(len(found), *a[name].shape[1:]) for name in SUMS}
    for name in SUMS:
        for part, rows in zip(parts, where.split([len(part["levels"]) for part in parts]), strict=True):
            added[name][rows] += part[name]
    return {"levels": found, **added}


def _correlation(state: State) -> Tensor:
    """Returns correlations (c, c) float32 from the sums; NaN where a unit's standard deviation is below a step."""
    units = state["sums"].shape[1]
    step = torch.tensor([steps(level) for level in state["levels"].tolist()], dtype=torch.float64)
    mean = (state["sums"].double() * step[:, None]).sum(0) / state["counts"].sum()
    covariance = torch.zeros(units, units, dtype=torch.float64)
    for i, one in enumerate(step.tolist()):
        covariance += one**2 * _centered(state["products"][i], state["sums"][i], state["counts"][i], mean / one)
    variance = covariance.diagonal().clone()
    variance[variance <= (state["counts"] * step**2).sum()] = float("nan")
    scale = variance.rsqrt()
    return (covariance * (scale[:, None] * scale)).clamp(-1, 1).float()


def _centered(products: Tensor, sums: Tensor, count: Tensor, mean: Tensor) -> Tensor:
    """Returns sum_p (q_pi - mean_i) (q_pj - mean_j) over the pictures p of a level, (c, c) float64; q are scores in steps.

    Means are first subtracted rounded to whole numbers, which is exact, so that scores far from zero lose no precision.
    """
    center = (sums.double() / count).round().long()
    rest = (sums - count * center).double()
    whole = (products - center[:, None] * sums) + (count * center[:, None] - sums[:, None]) * center
    shift = center.double() - mean
    mixed = shift[:, None] * rest
    return whole.double() + (mixed + mixed.T) + count * (shift[:, None] * shift)
