"""Metrics of one masked picture, by what a map highlights (does it suffice?), and of a blank one (do the values add up?)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tapetum.border.methods import metric
from tapetum.border.sentences import MixedIn
from tapetum.data.preprocessing import size_of
from tapetum.engines.batching import batch_size
from tapetum.engines.perturb import Masks, scores_under
from tapetum.engines.scores import ModelScore, as_probability
from tapetum.families.metrics.effects import hidden_effects
from tapetum.families.metrics.measuring import evaluated, explained, fills, outcomes
from tapetum.models.vision_model import VisionModel
from tapetum.types import Attribution, Batch, Better, Evaluation, MethodError
from tapetum.types.outcomes import Outcome


@metric(cite="chattopadhay2018gradcampp")
def average_drop(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    fill: MixedIn = "zero",
    batch: Batch = "auto",
) -> Evaluation:
    """Share of the target's probability that is lost when only what the map highlights is shown.

    value = max(0, p(x) - p(m x)) / p(x), in [0, 1], low is good; m = max(R, 0) / max R in [0, 1] at the size of the images, and
    m x is mixed with the fill where m < 1. The mean over images is the paper's average drop, there in percent. A map without
    positive values shows nothing, a constant positive one everything (a drop of 0): a map that highlights all of the picture
    cannot lose, so read this number beside the gain, or with the share that a map shows (`parts`). NaN where p(x) is 0, and for
    NaN in the map. torch-cam and pytorch-grad-cam stretch maps from their minimum to their maximum before they enlarge them.

    Example:
        >>> tp.average_drop(model, images, tp.grad_cam(model, images)).value
    """
    pair = _masked("average_drop", model, images, attribution, fill, batch)
    value = (pair.whole - pair.masked).clamp(min=0) / pair.whole
    return _of_pair("average_drop", value, pair, _status(attribution, pair.whole == 0, "impossible"), "lower")


@metric(cite="chattopadhay2018gradcampp")
def average_increase(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    fill: MixedIn = "zero",
    batch: Batch = "auto",
) -> Evaluation:
    """Whether the target's probability is higher when only what the map highlights is shown.

    value = 1 if p(m x) > p(x), else 0, with m x as in `average_drop`; high is good. The mean over images is the paper's
    increase in confidence. Equal probabilities are no increase: a map that shows everything has 0, and so has p(x) = 1.

    Example:
        >>> tp.average_increase(model, images, tp.grad_cam(model, images)).value
    """
    pair = _masked("average_increase", model, images, attribution, fill, batch)
    return _of_pair("average_increase", (pair.masked > pair.whole).double(), pair, outcomes(attribution), "higher")


@metric(cite="zhang2024opticam")
def average_gain(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    fill: MixedIn = "zero",
    batch: Batch = "auto",
) -> Evaluation:
    """Share of the missing probability that is won when only what the map highlights is shown.

    value = max(0, p(m x) - p(x)) / (1 - p(x)), in [0, 1], high is good, with m x as in `average_drop`, whose counterpart it is:
    a map that shows everything drops nothing, but gains nothing either. NaN where p(x) is 1, and for NaN in the map.

    Example:
        >>> tp.average_gain(model, images, tp.grad_cam(model, images)).value
    """
    pair = _masked("average_gain", model, images, attribution, fill, batch)
    value = (pair.masked - pair.whole).clamp(min=0) / (1 - pair.whole)
    return _of_pair("average_gain", value, pair, _status(attribution, pair.whole == 1, "certain"), "higher")


@metric(cite="sundararajan2017ig")
def completeness(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    fill: Tensor | float | str = "zero",
    batch: Batch = "auto",
) -> Evaluation:
    """Error of a map's sum as the difference between the score of the image and that of a blank one.

    value = |sum of values - (f(x) - f(x0))| / |f(x) - f(x0)|, at least 0, low is good: 0 where the values are shares that
    add up to what there is to explain, 1 for a map of zeros. f is the score that was explained, x0 the fill. The sum is over
    the map's own values and resolution. Only methods that promise shares can be complete (integrated gradients, DeepLIFT, SHAP,
    relevance); maps of places without a unit, such as class activation maps, need not be. NaN where the score of the blank
    image is the same, and for NaN in the map. Quantus answers True or False, True only for equal floats.

    Args:
        fill: the blank image, the baseline of the method: zero, mean, black, white, blur, noise, a number, a tensor.

    Example:
        >>> tp.completeness(model, images, tp.integrated_gradients(model, images, n_steps=8)).value
    """
    score, blank = explained(model, images, attribution), fills(model, images, fill)
    place = torch.zeros(size_of(images), dtype=torch.long)  # the whole image is one place
    effects = hidden_effects(score, images, images[:, 0], place, torch.ones(1, 1), blank, batch)
    drop = effects.drop[:, 0]
    total = torch.stack([one.double().sum() for one in attribution.values]).cpu()
    still = drop.abs() <= 8 * torch.finfo(images.dtype).eps * effects.whole.abs()
    parts = {"attributed": total[:, None], "drop": effects.drop}
    status = _status(attribution, still, "no_change")
    return evaluated("completeness", (total - drop).abs() / drop.abs(), status, "lower", (0.0, None), score=score, parts=parts)


# --- the passes


class _Pair(NamedTuple):
    """Probabilities (n,) of the target, of the whole image and of the masked one; `shown` the mean of the masks, (n,)."""

    score: ModelScore
    whole: Tensor
    masked: Tensor
    shown: Tensor


def _masked(
    name: str, model: VisionModel, images: Tensor, attribution: Attribution, fill: Tensor | float | str, batch: Batch
) -> _Pair:
    score = as_probability(model, images, attribution.explains)
    if not score.is_probability:
        raise MethodError(f"{name} compares probabilities, and the target of this map has none: use deletion or insertion")
    positive = attribution.heatmap().clamp(min=0).nan_to_num(0, posinf=0)
    masks = torch.stack([one / one.max() if bool(one.max() > 0) else one for one in positive])[:, None].to(images)
    seen, blank, size = model.laid_out(images), model.laid_out(fills(model, images, fill)), batch_size(model, batch)
    values = list[Tensor]()
    for row, mask in enumerate(masks):
        both = torch.stack([torch.ones_like(mask), mask])
        two = Masks(2, lambda start, stop, both=both: both[start:stop])
        one = slice(row, row + 1)
        stream = scores_under(score, seen[one], two, blank[one], batch=size, row=row, unit="masked pictures")
        values.append(torch.cat([found.double() for _, found in stream]).cpu())
    pairs = torch.stack(values)
    return _Pair(score, pairs[:, 0], pairs[:, 1], torch.stack([mask.double().mean() for mask in masks]).cpu())


def _status(attribution: Attribution, undefined: Tensor, reason: Outcome) -> list[Outcome]:
    return [reason if own == "ok" and bool(undefined[row]) else own for row, own in enumerate(outcomes(attribution))]


def _of_pair(name: str, value: Tensor, pair: _Pair, status: list[Outcome], better: Better) -> Evaluation:
    parts = {"whole": pair.whole[:, None], "masked": pair.masked[:, None], "shown": pair.shown[:, None]}
    return evaluated(name, value, status, better, (0.0, 1.0), score=pair.score, parts=parts)
