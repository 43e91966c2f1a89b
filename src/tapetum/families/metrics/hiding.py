"""Metrics that hide sets of places and compare what the map gives to them with the fall of the score.

    attributed_S = sum of R over the pixels of S          drop_S = f(x) - f(x with S replaced)

R is the map at the size of the images, `attribution.ranking()`: signed, its channels summed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.methods import metric
from tapetum.border.sentences import AnyFill, Seed
from tapetum.data.preprocessing import size_of
from tapetum.engines.scores import ModelScore, as_score
from tapetum.engines.similarity import correlation, rank_correlation
from tapetum.families.metrics.effects import (
    Effects,
    count,
    hidden_effects,
    places,
    random_sets,
    random_squares,
    ranking,
    unmoved,
)
from tapetum.families.metrics.measuring import evaluated, explained, fills, level, outcomes
from tapetum.models.vision_model import VisionModel
from tapetum.types import Attribution, Batch, Evaluation, Range
from tapetum.types.outcomes import Outcome


@metric(cite="hesse2024idsds")
def single_deletion(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    cells: Annotated[int, Range(2, 64)] = 4,
    fill: Tensor | float | str = "zero",
    batch: Batch = "auto",
) -> Evaluation:
    """Agreement of a map with what happens when single squares of the picture are deleted: larger sums should matter more.

    value = Spearman's rank correlation, over the cells of a 4 x 4 grid, of the map's signed sum in a cell with the fall of the
    target's logit when that cell alone is replaced, in [-1, 1], high is good; equal values share their mean rank. 17 forward
    passes per image. One cell at a time stays closer to whole pictures than a curve does, but sees no interactions. NaN, and
    counted in the words of the result, for a constant map (the paper's code drops such images in silence), for NaN in the map,
    and where no deletion changes the logit.

    Args:
        cells: cells per side of the grid (the paper: 4).
        fill: replacement of a deleted cell: zero (as in the paper), mean, black, white, blur, noise, a number, a tensor.

    Example:
        >>> tp.single_deletion(model, images, tp.grad_cam(model, images)).value
    """
    targets = attribution.explains
    score = as_score(model, images, targets[0] if callable(targets[0]) else list(targets))
    labels = places(images, cells)
    effects = hidden_effects(
        score, images, ranking(images, attribution), labels, torch.eye(count(labels)), fills(model, images, fill), batch
    )
    return _correlated("single_deletion", attribution, score, effects, images.dtype, rank_correlation)


@metric(cite="bhatt2020evaluating", laws=("sampled",))
def faithfulness_correlation(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    n_samples: Annotated[int, Range(2, 100_000)] = 100,
    share: Annotated[float, Range(0.001, 0.999)] = 0.2,
    cells: Annotated[int | None, Range(2, 10_000)] = 9,
    fill: Tensor | float | str = "zero",
    seed: Seed = 0,
    batch: Batch = "auto",
) -> Evaluation:
    """Agreement of a map with the fall of the score when random sets of places are hidden.

    value = Pearson's correlation over random sets S of equal size of the sum of R in S with f(x) - f(x with S replaced), in
    [-1, 1], high is good; f is the score that was explained. Sets are of squares of a 9 x 9 grid (mu-fidelity); Quantus draws
    224 single values of single channels instead, scattered over the picture, which change little but the noise in it: compare
    numbers of one tool only. The sets of a seed are the same for every image. NaN for a constant map, a map with NaN, or where
    no set changes the score.

    Args:
        n_samples: random sets (Quantus: 100), each costs a forward pass.
        share: share of the squares that a set hides, at least one.
        cells: squares per side of the grid; None: single pixels.
        fill: replacement of hidden pixels: zero, mean, black, white, blur, noise, a number, a tensor.

    Example:
        >>> tp.faithfulness_correlation(model, images, tp.grad_cam(model, images), n_samples=20).value
    """
    score, labels = explained(model, images, attribution), places(images, cells)
    many = count(labels)
    hidden = random_sets(many, [max(1, min(many - 1, round(share * many)))] * n_samples, seed)
    effects = hidden_effects(score, images, ranking(images, attribution), labels, hidden, fills(model, images, fill), batch)
    return _correlated("faithfulness_correlation", attribution, score, effects, images.dtype, correlation)


@metric(cite="ancona2018towards", laws=("sampled",))
def sensitivity_n(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    n_sizes: Annotated[int, Range(2, 1_000)] = 5,
    n_samples: Annotated[int, Range(2, 100_000)] = 20,
    cells: Annotated[int | None, Range(2, 10_000)] = 14,
    fill: AnyFill = "zero",
    seed: Seed = 0,
    batch: Batch = "auto",
) -> Evaluation:
    """Agreement of a map with the fall of the score when random sets of places are hidden, for sets from small to large.

    value = mean over sizes of the correlation, over random sets S of one size, of the sum of R in S with f(x) - f(x with S
    replaced), in [-1, 1], high is good. The sizes grow by a constant factor from one square to 80 %; `parts` has the
    correlation at each share; a size at which nothing changes is left out. A map that is exact for every set reaches 1, which
    for a network that is not additive no map can. NaN as in `faithfulness_correlation`. Quantus 0.6.0 computes something else
    under this name: it hides places in the map's order and correlates over the images of a batch, so that its numbers depend
    on the other images.

    Args:
        n_sizes: sizes of sets.
        n_samples: random sets of each size (the paper: 100), each costs a forward pass.
        cells: squares per side of a grid; None: single pixels, as in the paper.

    Example:
        >>> tp.sensitivity_n(model, images, tp.grad_cam(model, images), n_sizes=2, n_samples=8).value
    """
    score, labels = explained(model, images, attribution), places(images, cells)
    many = count(labels)
    most = max(1, int(0.8 * many))
    sizes = torch.logspace(0, math.log10(most), n_sizes, dtype=torch.float64).round().int().tolist()
    hidden = random_sets(many, [size for size in sizes for _ in range(n_samples)], seed)
    effects = hidden_effects(score, images, ranking(images, attribution), labels, hidden, fills(model, images, fill), batch)
    attributed, drop = (one.unflatten(1, (n_sizes, n_samples)) for one in (effects.attributed, effects.drop))
    flat = level(attributed) | unmoved(drop, effects.whole[:, None], images.dtype)
    found = correlation(attributed, drop).masked_fill(flat, torch.nan)
    status = _status(attribution, effects, images.dtype)
    parts = {"correlation": found, "share": torch.tensor(sizes, dtype=torch.float64).expand_as(found) / many}
    return evaluated("sensitivity_n", found.nanmean(1), status, "higher", (-1.0, 1.0), score=score, parts=parts)


@metric(cite="yeh2019infidelity", laws=("sampled",))
def infidelity(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    n_samples: Annotated[int, Range(2, 100_000)] = 64,
    side: Annotated[float, Range(0.001, 1)] = 0.25,
    values: Literal["shares", "slopes"] = "shares",
    scaled: bool = True,
    fill: Tensor | float | str = "zero",
    seed: Seed = 0,
    batch: Batch = "auto",
) -> Evaluation:
    """Error of a map as a forecast of how far the score falls when random squares are removed.

    value = mean over random squares S of (b a_S - (f(x) - f(x with S replaced)))^2, at least 0, low is good, in squared units
    of the score; a_S is the sum of R in S. b = 1, or with `scaled` the b >= 0 that makes the error least, since maps of most
    methods have a scale of their own (captum's normalize=True takes b < 0, too, and so gives a map and its opposite the same
    error). Of values that are slopes, such as a gradient, a_S is the sum of
    R (x - x with S replaced), as in captum and Quantus, which take every map for slopes. A map of zeros has the error of
    forecasting no change. NaN for a map with NaN.

    Args:
        n_samples: random squares (captum: 10), each costs a forward pass.
        side: side of a square as a share of the image's shorter side.
        values: what the map's values are: shares of the score, or slopes of it.
        scaled: scale the map as suits the image best; False: its own scale.
        fill: replacement of a square: zero, mean, black, white, blur, noise, a number, a tensor.

    Example:
        >>> tp.infidelity(model, images, tp.grad_cam(model, images), n_samples=8).value
    """
    score, replaced = explained(model, images, attribution), fills(model, images, fill)
    importance = ranking(images, attribution)
    if values == "slopes":
        slopes = F.interpolate(attribution.values, size_of(images), mode="bilinear", align_corners=False)
        importance = (slopes * (images - replaced)).sum(1)
    hidden = random_squares(size_of(images), max(1, round(side * min(size_of(images)))), n_samples, seed)
    effects = hidden_effects(score, images, importance, places(images, None), hidden, replaced, batch)
    a, drop = effects.attributed, effects.drop
    best = ((a * drop).sum(1, keepdim=True) / a.square().sum(1, keepdim=True)).nan_to_num(0).clamp(min=0)
    error = ((best if scaled else 1) * a - drop).square().mean(1)
    parts = {"attributed": a, "drop": drop}
    return evaluated("infidelity", error, outcomes(attribution), "lower", (0.0, None), score=score, parts=parts)


# --- the result


def _correlated(
    name: str,
    attribution: Attribution,
    score: ModelScore,
    effects: Effects,
    dtype: torch.dtype,
    correlation: Callable[[Tensor, Tensor], Tensor],
) -> Evaluation:
    value = correlation(effects.attributed, effects.drop)
    parts = {"attributed": effects.attributed, "drop": effects.drop}
    status = _status(attribution, effects, dtype)
    return evaluated(name, value, status, "higher", (-1.0, 1.0), score=score, parts=parts)


def _status(attribution: Attribution, effects: Effects, dtype: torch.dtype) -> list[Outcome]:
    """Returns why there is no correlation: NaN in the map, a map equal in all parts, or a score that no part changes."""
    flat, still = level(effects.attributed).tolist(), unmoved(effects.drop, effects.whole, dtype).tolist()
    return [
        own if own != "ok" else "constant" if flat[row] else "no_change" if still[row] else "ok"
        for row, own in enumerate(outcomes(attribution, constant="constant"))
    ]
