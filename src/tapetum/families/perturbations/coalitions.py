"""Contributions of image segments to the score, estimated from scores with subsets (coalitions) of the segments visible.

Every method gives all pixels of a segment the same value. For each image, the score of a coalition is computed only once.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from tapetum.border.methods import attribution
from tapetum.border.sentences import Fill, NumberOfSegments, Segments, Tolerance
from tapetum.engines.perturb import Segmentation
from tapetum.engines.perturb.games import Game, games, marginals, replayed, shapley_sample
from tapetum.engines.perturb.regressions import cosine_kernel, shapley_regression, weighted_ridge
from tapetum.engines.scores import ModelScore
from tapetum.engines.statistics import RunningMean, checks, settled, stacked
from tapetum.types import Batch, MethodError, Range

LAWS = ("class_sensitive", "forward_only", "sampled")


@attribution(cite="ribeiro2016lime", reduce="sum", scale="probability", laws=(*LAWS, "live"))
def lime(
    score: ModelScore,
    images: Tensor,
    *,
    n_samples: Annotated[int, Range(2, 1_000_000)] = 1000,
    kernel_width: Annotated[float, Range(0.001, 1000)] = 0.25,
    alpha: Annotated[float, Range(0, 1e6)] = 1.0,
    segments: Segmentation | Tensor = "quickshift",
    n_segments: NumberOfSegments = 50,
    fill: Fill,
    tolerance: Tolerance = None,
    generator: torch.Generator,
    batch: Batch = "auto",
) -> tuple[Tensor, Tensor]:
    """The contribution of each segment to the probability in a linear model that is fitted around the picture.

    values (n, 1, h, w) = the segment's coefficient b_i of min over b of sum_j w_j (p(z_j) - b_0 - z_j . b)^2 + alpha |b|^2,
    with p the target's probability (softmax), z_j in {0, 1}^k the segments that are seen (the first sample: all; else each
    with probability 1/2), w_j = sqrt(exp(-d_j^2 / kernel_width^2)) and d_j the cosine distance of z_j to all ones: kernel,
    ridge and segmentation of the `lime` package's image explainer. That package hides a segment under its own mean colour, and
    shows the largest coefficients only; here `fill` hides, and all are kept. `stderr` is White's sandwich error of b.

    Args:
        n_samples: coalitions; the lime package: 1000.
        kernel_width: width of the fit's neighbourhood, in cosine distance; the lime package: 0.25.
        alpha: the ridge penalty; the lime package: 1.
        segments: slic, quickshift (with the settings of lime), felzenszwalb, grid, or labels (h, w) or (n, h, w).

    Example:
        >>> tp.lime(model, images, n_samples=64, segments="grid", n_segments=9)
    """
    assert isinstance(segments, Tensor)
    again = replayed(generator)

    def fit(game: Game) -> tuple[Tensor, Tensor]:
        present = torch.randint(2, (n_samples, game.players), generator=again()).float()
        present[0] = 1
        weights = cosine_kernel(present, kernel_width)
        b, error = images.new_zeros(game.players), images.new_zeros(game.players)

        def fitted(known: Tensor, values: Tensor) -> Tensor:
            return weighted_ridge(present[known], values, weights[known], alpha)[0]

        for _, stop in checks(n_samples, tolerance):
            b, error = weighted_ridge(present[:stop], game(present[:stop], fitted), weights[:stop], alpha)
            if settled(b, error, tolerance):
                break
        return game.paint(b), game.paint(error)

    return stacked(fit(game) for game in games(score, images, segments, fill, batch))


@attribution(cite="lundberg2017shap", reduce="sum", laws=(*LAWS, "linear_exact"))
def kernel_shap(
    score: ModelScore,
    images: Tensor,
    *,
    n_samples: Annotated[int, Range(2, 1_000_000)] = 2048,
    segments: Segments,
    n_segments: NumberOfSegments = 50,
    fill: Fill,
    tolerance: Tolerance = None,
    generator: torch.Generator,
    batch: Batch = "auto",
) -> tuple[Tensor, Tensor]:
    """The Shapley value of each segment, from one weighted regression over coalitions.

    values (n, 1, h, w) = phi_i of min over phi of sum over coalitions z of pi(z) (v(z) - v(none) - z . phi)^2 under
    sum_i phi_i = v(all) - v(none), with pi(z) = (k - 1) / (C(k, s) s (k - s)) for s of k segments seen; signed, in units of
    the score. Every pixel carries its segment's value, so segments sum to v(all) - v(none), pixels do not. With
    n_samples >= 2^k - 2 all coalitions are used and the values are the exact Shapley values; otherwise all coalitions of as
    many sizes as the budget allows, then random pairs of a coalition and its complement, as in the shap package. `stderr` is
    that of the random part. Fewer than two coalitions per segment do not determine the values and are refused.

    Args:
        n_samples: coalitions besides all and none; the shap package: 2048 and 2 per segment.

    Example:
        >>> tp.kernel_shap(model, images, n_samples=64, segments="grid", n_segments=9)
    """
    again = replayed(generator)

    def fit(game: Game) -> tuple[Tensor, Tensor]:
        k = game.players
        if n_samples < min(2 * k, 2**k - 2):
            raise MethodError(f"n_samples={n_samples} coalitions do not determine {k} segments: give at least {2 * k}")
        listed, weights, drawn, rest = shapley_sample(k, n_samples, again())
        nobody, everybody = game(torch.tensor([[0.0], [1.0]]).expand(2, k))
        pairs = torch.stack([drawn, 1 - drawn], 1)
        phi, error = images.new_zeros(k), images.new_zeros(k)
        for _, stop in checks(len(pairs), tolerance):
            known = game(torch.cat([listed, pairs[:stop].flatten(0, 1)])) if len(listed) + stop else everybody[None][:0]
            exact = listed, known[: len(listed)], weights
            sampled = pairs[:stop], known[len(listed) :].view(-1, 2), rest
            phi, error = shapley_regression(exact, sampled, nobody, everybody)
            if settled(phi, error, tolerance):
                break
        return game.paint(phi), game.paint(error)

    return stacked(fit(game) for game in games(score, images, segments, fill, batch))


@attribution(cite="castro2009shapley", reduce="sum", laws=(*LAWS, "linear_exact", "dummy"))
def shapley_sampling(
    score: ModelScore,
    images: Tensor,
    *,
    n_samples: Annotated[int, Range(2, 1_000_000)] = 25,
    segments: Segments,
    n_segments: NumberOfSegments = 50,
    fill: Fill,
    tolerance: Tolerance = None,
    generator: torch.Generator,
    batch: Batch = "auto",
) -> tuple[Tensor, Tensor]:
    """The Shapley value of each segment: how much it adds when the segments appear one by one in a random order.

    values (n, 1, h, w) = mean over random orders of v(those before i, and i) - v(those before i), with v the score of the
    image of which only these segments are seen; signed, in units of the score. Over segments (not pixels) they sum to
    v(all) - v(none) for any number of orders. `stderr` is the standard error over orders.

    Args:
        n_samples: orders, each of as many passes as there are segments; captum: 25.

    Example:
        >>> tp.shapley_sampling(model, images, n_samples=8, segments="grid", n_segments=9)
    """
    again = replayed(generator)

    def shares(game: Game) -> tuple[Tensor, Tensor]:
        orders, mean = torch.rand(n_samples, game.players, generator=again()).argsort(1), RunningMean()
        for start, stop in checks(n_samples, tolerance):
            for change in marginals(game, orders[start:stop]):
                mean.add(change)
            if settled(mean.value, mean.stderr, tolerance):
                break
        return game.paint(mean.value), game.paint(mean.stderr)

    return stacked(shares(game) for game in games(score, images, segments, fill, batch))
