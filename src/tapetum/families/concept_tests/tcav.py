"""TCAV: does an answer depend on a concept more than on vectors from pictures whose labels were shuffled?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

import torch
from torch import Tensor

from tapetum.border.layers import layer_of
from tapetum.families.concept_tests.sets import (
    MOST,
    PictureSet,
    first_score,
    is_source,
    network_for,
    picture_set,
    pooled,
    pulls,
)
from tapetum.families.concept_tests.vectors import (
    TINY,
    Labellings,
    Tested,
    VectorKind,
    labellings,
    metric_of,
    null_of,
    smallest_p,
    tested,
    weights,
)
from tapetum.families.verdicts.judging import holm
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note, noting
from tapetum.progress import stage, track
from tapetum.types import Batch, Concept, MethodError, ModelLike, Range, TargetLike, Tcav
from tapetum.types.checks import checked_choice

FEWEST = 3
"""Pictures of a set below which nothing can be left out and compared."""


def tcav(
    model: ModelLike,
    concept: Any,
    random: Any,
    target: TargetLike = None,
    layer: str | None = None,
    *,
    images: Any = None,
    vector: VectorKind = "mean",
    runs: Annotated[int, Range(99, 1_000_000)] = 20_000,
    level: Annotated[float, Range(1e-6, 0.5)] = 0.05,
    n: Annotated[int, Range(3, 100_000)] | None = MOST,
    seed: int = 0,
    batch: Batch = "auto",
) -> Tcav:
    """Whether a target depends on a concept that pictures of it define, beside what shuffled pictures would give.

    Let a be the layer's activation averaged over places, (c,). The concept's vector is v = mean of a over its pictures - mean
    over the random ones (schmalwasser2025fastcav); vector="lda" is C^-1 times that, C the covariance of all these pictures,
    shrunk (ledoit2004well). The sensitivity of an image is the gradient of the score at the layer, summed over places, times v:
    the change of the score, to first order, when all places move by v. The TCAV score is the share of images where it is
    positive (kim2018tcav).

    Chance: the labels of the concept's and the random pictures are shuffled, and everything is computed again, `runs` times, or
    once for each way to share out the labels where there are no more. p_effect compares the *mean* sensitivity, two-sided:
    where a gradient hardly varies between images, as at the last layers, half of all random vectors have a TCAV score of 1, and
    the score alone says nothing. p_known compares the accuracy with which left-out pictures are told apart: on a concept that
    the layer does not know nothing can depend there. p is the larger of the two, corrected for all concepts by Holm's method.
    With the default of 20,000 runs a p-value near .05 varies by about .003 between seeds.

    The test is exact for pictures that differ by their labels alone: what else the concept's pictures have in common, such as a
    background, is found as well. With 12 + 12 pictures a planted background was found in 96 % (mean) and 38 % (lda) of 200 runs
    at a layer of 64 channels, in 32 % and 74 % at one of 16. Refused: fewer than three pictures of a set.

    Args:
        concept: pictures that show the concept: a folder or another source, or images; several as {name: pictures}.
        random: pictures like the concept's but without it.
        target: class, or any other target; None: the class predicted for each image.
        layer: name of a layer with a map; None: the last that combines several places.
        images: pictures on which the score's gradient is taken, such as those of the class; None: the random pictures.
        vector: kind of vector: the difference of the means (mean), or that with the directions scaled down in which all
            pictures vary (lda), whose length has no meaning.
        runs: random labellings.
        level: rate of false alarms, over all concepts together.
        n: pictures of each source, drawn at random; None: all.
        seed: random seed of the drawn pictures and the labellings.

    Example:
        >>> print(tp.tcav(model, {"soft": photographs}, folder, target=1, layer="blocks.3", runs=999))
    """
    checked_choice(vector, ("mean", "lda"), "vector")
    if not 99 <= runs <= 1_000_000:
        raise MethodError(f"runs is a number of labellings from 99 to 1,000,000, not {runs}")
    if not 0 < level <= 0.5:
        raise MethodError(f"level is a rate from 0 to .5, such as .05, not {level!r}")
    with noting() as said, network_for(model, images, random) as network:
        found = _found(network, _named(concept), random, images, target, layer, (vector, runs, level, n, seed, batch))
    return replace(found, notes=tuple(said))


def _named(concept: Any) -> dict[str, Any]:
    """Returns {name: pictures} of one concept or several; one that is a folder has its name."""
    if isinstance(concept, Mapping):
        named = {str(name): pictures for name, pictures in cast("Mapping[Any, Any]", concept).items()}
        if not named:
            raise MethodError("no concepts were given: {name: pictures of it}")
        return named
    name = Path(concept).name if isinstance(concept, (str, Path)) else getattr(concept, "name", None)
    return {name if isinstance(name, str) and is_source(concept) else "concept": concept}


def _found(
    model: VisionModel, concepts: Mapping[str, Any], random: Any, images: Any, target: TargetLike, layer: str | None,
    settings: tuple[VectorKind, int, float, int | None, int, Batch],
) -> Tcav:  # fmt: skip
    kind, runs, level, n, seed, batch = settings
    others = picture_set(model, random, n, seed)
    asked = others if images is None else picture_set(model, images, n, seed)
    if images is None:
        note("sensitivities are those of the random pictures, since no images= were given")
    name, words = _layer_and_target(model, asked, target, layer, batch)
    with stage("gradients"):
        gradients = pulls(model, asked, target, name, batch)
    with stage("random pictures"):
        plain = pooled(model, others, name, batch)
    _enough(others, "random pictures")
    results: list[_One] = []
    for label, given in track(list(concepts.items()), len(concepts), "concepts"):
        pictures = picture_set(model, given, n, seed)
        _enough(pictures, f"pictures of {label}")
        values = pooled(model, pictures, name, batch)
        results.append(_one(label, values, plain, gradients, (name, kind, runs, seed, level)))
    return _together(results, gradients, name, words, len(others), level, kind, model.name)


def _layer_and_target(
    model: VisionModel, asked: PictureSet, target: TargetLike, layer: str | None, batch: Batch
) -> tuple[str, str]:
    """Returns the layer, which must have a part in the score, and the target in words."""
    score, some = first_score(model, asked, target, batch)
    name = layer_of(score, some, layer)
    if target is None:
        return name, "the predicted class"
    said = list(dict.fromkeys(score.describe(len(some))))
    return name, said[0] if len(said) == 1 else "the target of each image"


def _enough(pictures: PictureSet, what: str) -> None:
    if len(pictures) < FEWEST:
        raise MethodError(f"{len(pictures)} {what} are too few to compare: give at least {FEWEST}, better 30 or more")


class _One:
    """One concept: its own numbers, those of the shuffled pictures, and its vector."""

    def __init__(self, name: str, own: Tested, null: Tested, ways: Labellings, concept: Concept, step: Tensor, m: int) -> None:
        self.name, self.own, self.null, self.ways, self.concept, self.step, self.m = name, own, null, ways, concept, step, m
        self.p_effect = ways.p_value(abs(float(own.effect)), null.effect.abs())
        self.p_known = ways.p_value(float(own.accuracy), null.accuracy)

    def middle(self, name: str) -> Tensor:
        """Returns the middle 95 % of the null of one number, (2,)."""
        return getattr(self.null, name).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))


def _one(
    name: str, values: Tensor, plain: Tensor, gradients: Tensor, settings: tuple[str, VectorKind, int, int, float]
) -> _One:
    layer, kind, runs, seed, level = settings
    m, r = len(values), len(plain)
    both = torch.cat([values, plain])
    scaled = metric_of(both, kind)
    given = (torch.arange(m + r) < m)[None]
    step = (scaled.T @ weights(given))[:, 0]
    if float(step.abs().max()) <= TINY * float(scaled.abs().max()):
        raise MethodError(f"{layer} gives the pictures of {name} and the random ones the same mean: there is no vector")
    least = smallest_p(m, r, runs)
    if least > level:
        note(f"{m} pictures of {name} and {r} random ones cannot give a p-value below {least:.2g}: give more pictures")
    ways = labellings(m, r, runs, seed)
    null = null_of(both, scaled, gradients, ways)
    return _One(name, tested(both, scaled, gradients, given), null, ways, Concept(layer, step, name), step, m)


def _together(
    found: list[_One], gradients: Tensor, layer: str, target: str, others: int, level: float, kind: str, model: str
) -> Tcav:
    def column(numbers: list[float]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float64)

    return Tcav(
        layer,
        target,
        tuple(one.concept for one in found),
        sensitivity=torch.stack([gradients @ one.step for one in found]),
        score=torch.cat([one.own.positive for one in found]),
        accuracy=torch.cat([one.own.accuracy for one in found]),
        p=column(holm([max(one.p_effect, one.p_known) for one in found])),
        p_effect=column([one.p_effect for one in found]),
        p_known=column([one.p_known for one in found]),
        null_effect=torch.stack([one.middle("effect") for one in found]),
        null_score=torch.stack([one.middle("positive") for one in found]),
        null_accuracy=torch.stack([one.null.accuracy.quantile(0.95) for one in found]),
        counts=tuple(one.m for one in found),
        others=others,
        runs=tuple(len(one.ways.rows) for one in found),
        exact=tuple(one.ways.all for one in found),
        level=level,
        vector=kind,
        model=model,
    )
