"""Metrics that ask whether a map depends on what the network learned, and on the class: maps made again, and compared.

Each makes the map again with the method that made it, on a copy of the network with random weights or for another class, one
image at a time. Similarity is Spearman's rank correlation of the magnitudes |R| of `attribution.heatmap(None)`. Random weights
are drawn as `sanity_check` says, which also judges a method on many pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from torch import Tensor

from tapetum.border.methods import metric
from tapetum.engines.scores import n_classes
from tapetum.engines.similarity import rank_correlation
from tapetum.families.map_similarity import magnitude, other_classes, similarities
from tapetum.families.metrics.measuring import evaluated
from tapetum.families.metrics.subjects import MadeWith, Subject, statuses
from tapetum.models.randomizing import stretches
from tapetum.models.vision_model import VisionModel
from tapetum.progress import track
from tapetum.types import Attribution, Evaluation, MethodError, Range

Seeds = Annotated[int, Range(1, 1000), "number of draws, whose mean is taken."]
Steps = Annotated[int, Range(1, 1000), "stretches of layers from the output to the input; the first is the last layer alone."]


@metric(cite="adebayo2018sanity", laws=("sampled",))
def parameter_randomization(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    order: Literal["cascading", "independent"] = "cascading",
    steps: Steps = 6,
    seeds: Seeds = 3,
    parameters: MadeWith = None,
) -> Evaluation:
    """Similarity of a map to the maps of networks with random weights: a map that stays the same does not depend on them.

    value = mean over depths and draws of rho(|R|, |R_random|), in [-1, 1], low is good; `parts["similarity"]` has each depth. A
    map that is blank on a random network counts as 0. NaN for a map that is constant, has NaN or no positive evidence.

    Args:
        order: cascading: all stretches from the output down to each depth are random; independent: each stretch alone.

    Example:
        >>> tp.parameter_randomization(model, images, tp.saliency(model, images), steps=2, seeds=1).value
    """
    alone = order == "independent"
    subject = Subject.of("parameter_randomization", model, images, attribution, parameters)
    layers = stretches(model, steps)
    plan = [
        (seed, layers[depth : depth + 1] if alone else layers[: depth + 1])
        for seed in range(seeds)
        for depth in range(len(layers))
    ]
    found = subject.on_random(plan, lambda row, trained, network, image: _alike(trained, subject.map(row, network, image)))
    each = found.view(len(images), seeds, len(layers)).nanmean(1)
    return _result("parameter_randomization", each.nanmean(1), attribution, {"similarity": each})


@metric(cite="hedstrom2024fresh", laws=("sampled",))
def smooth_parameter_randomization(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    n_samples: Annotated[int, Range(1, 10_000)] = 10,
    sigma: Annotated[float, Range(0, 10)] = 0.1,
    steps: Steps = 6,
    seeds: Seeds = 1,
    parameters: MadeWith = None,
) -> Evaluation:
    """Similarity to the maps of networks with random weights, where every map is a mean over noisy copies of the image.

    value = mean over depths (cascading) of rho(A, A_random), A = mean over copies of |R| scaled to a maximum of 1, in [-1, 1],
    low is good. Noise in a map hides what it has in common with another; the mean takes it away on both sides. One of the
    copies has no noise; on the others each value of the image is changed by N(0, sigma^2 (max - min)^2). NaN as in
    `parameter_randomization`.

    Args:
        n_samples: copies of the image (the paper: 50; here 10, since each costs a map on each network).
        sigma: standard deviation of the noise as a share of the image's range.

    Example:
        >>> tp.smooth_parameter_randomization(model, images, tp.saliency(model, images), n_samples=2, steps=2).value
    """
    subject = Subject.of("smooth_parameter_randomization", model, images, attribution, parameters)
    layers = stretches(model, steps)

    def mean(row: int, network: VisionModel, image: Tensor) -> Tensor:
        """Returns the mean magnitude (1, h, w) of the maps of noisy copies."""
        return magnitude(subject.map(row, network, _noisy(image, n_samples, sigma)), None).mean(0, keepdim=True)

    def compared(row: int, _trained: Attribution, network: VisionModel, image: Tensor) -> Tensor:
        return rank_correlation(own[row], mean(row, network, image)).nan_to_num(nan=0.0)[0].cpu()

    own = {row: mean(row, subject.models[row], images[row : row + 1]) for row in subject.measured}
    plan = [(seed, layers[: depth + 1]) for seed in range(seeds) for depth in range(len(layers))]
    each = subject.on_random(plan, compared).view(len(images), seeds, len(layers)).nanmean(1)
    return _result("smooth_parameter_randomization", each.nanmean(1), attribution, {"similarity": each})


@metric(cite="hedstrom2024fresh", laws=("sampled",))
def efficient_parameter_randomization(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    bins: Annotated[int, Range(2, 100_000)] = 100,
    seeds: Seeds = 3,
    parameters: MadeWith = None,
) -> Evaluation:
    """Relative rise of a map's complexity when all weights are random, where an explanation should become noise.

    value = mean over draws of (H(R_random) - H(R)) / H(R), at least -1, high is good; H is the entropy of the histogram of |R|
    at the size of the images, in `bins` equal bins from its lowest to its highest value. No two maps are compared, so no
    measure of similarity is needed. A map that is constant on a random network has H = 0. NaN as in `parameter_randomization`.

    Args:
        bins: of the histogram.

    Example:
        >>> tp.efficient_parameter_randomization(model, images, tp.saliency(model, images), seeds=1).value
    """
    subject = Subject.of("efficient_parameter_randomization", model, images, attribution, parameters)

    def rise(row: int, trained: Attribution, network: VisionModel, image: Tensor) -> Tensor:
        before, after = (discrete_entropy(magnitude(one)[0], bins) for one in (trained, subject.map(row, network, image)))
        return ((after - before) / before).cpu()

    found = subject.on_random([(seed, stretches(model, 1)) for seed in range(seeds)], rise)
    return _result("efficient_parameter_randomization", found.nanmean(1), attribution, {"rise": found}, "higher", (-1.0, None))


@metric(cite="sixt2020when", laws=("sampled",))
def random_logit(
    model: VisionModel, images: Tensor, attribution: Attribution, *, seeds: Seeds = 5, parameters: MadeWith = None
) -> Evaluation:
    """Similarity of a map to the same method's maps of other classes: a map that stays the same does not depend on the class.

    value = mean over draws of rho(|R|, |R_other|), in [-1, 1], low is good; the other class is any of those that are not the
    target, with the same chance. Refused where the targets are no classes. NaN as in `parameter_randomization`.

    Example:
        >>> tp.random_logit(model, images, tp.saliency(model, images), seeds=1).value
    """
    subject = Subject.of("random_logit", model, images, attribution, parameters)
    k = n_classes(model, images) if all(type(target) is int for target in attribution.explains) else 0
    if k < 2:
        raise MethodError("random_logit explains another class, and these maps explain no classes of several")
    found = torch.full((len(images), seeds), torch.nan, dtype=torch.float64)
    for row in track(subject.measured, len(subject.measured), "images"):
        for seed in range(seeds):
            other = other_classes([attribution.explains[row]], k, seed)
            again = subject.made[row].maps(subject.models[row], images[row : row + 1], other)
            found[row, seed] = _alike(subject.made[row].first, again)
    return _result("random_logit", found.nanmean(1), attribution, {"similarity": found})


# --- what they share


def _alike(trained: Attribution, other: Attribution) -> Tensor:
    return similarities(trained, other)[0, 0]


def discrete_entropy(values: Tensor, bins: int) -> Tensor:
    """Returns the entropy () in nats of the histogram of values, in equal bins from the lowest to the highest."""
    low, high = values.aminmax()
    if low == high:
        return values.new_zeros(())
    share = torch.histc(values, bins, float(low), float(high)) / values.numel()
    return -torch.xlogy(share, share).sum()


def _noisy(image: Tensor, n: int, sigma: float) -> Tensor:
    """Returns n copies of an image (1, c, h, w), all but the first with noise, the same for every image."""
    noise = torch.randn(n - 1, *image.shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(image)
    return torch.cat([image, image + sigma * (image.max() - image.min()) * noise])


def _result(
    name: str,
    value: Tensor,
    attribution: Attribution,
    parts: Mapping[str, Tensor],
    better: Literal["higher", "lower"] = "lower",
    limits: tuple[float | None, float | None] = (-1.0, 1.0),
) -> Evaluation:
    return evaluated(name, value, statuses(attribution), better, limits, parts=parts)
