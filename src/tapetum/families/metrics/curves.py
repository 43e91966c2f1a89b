"""Faithfulness: whether hiding or showing the pixels that a map ranks highest changes the model's output most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.methods import metric
from tapetum.border.sentences import AnyFill
from tapetum.data.preprocessing import size_of
from tapetum.engines.batching import batch_size
from tapetum.engines.perturb import descending, scores_under, staircase
from tapetum.engines.scores import ModelScore, as_probability
from tapetum.families.metrics.measuring import evaluated, fills, outcomes
from tapetum.models.vision_model import VisionModel
from tapetum.types import Attribution, Batch, Better, Evaluation, Range


@metric(cite="petsiuk2018rise")
def deletion(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    n_steps: Annotated[int, Range(1, 10_000)] = 32,
    cells: Annotated[int | None, Range(1, 10_000)] = None,
    fill: AnyFill = "zero",
    batch: Batch = "auto",
) -> Evaluation:
    """Speed at which the target's probability falls when the pixels that the map ranks highest are hidden first.

    value = area under p(share of pixels hidden), in [0, 1], low is good. p is the softmax probability of the target,
    whatever scale was explained; of a box its similarity to the best detection, of a region the mean probability in it.
    Another target is measured by its own score, in its own units (`measures` of the result says so). Pixels of equal
    importance are hidden in a fixed random order.

    Args:
        n_steps: equal steps from nothing to everything hidden (the paper: one per 224 px).
        cells: hide whole squares of a grid with this many cells per side, ranked by their mean; None: single pixels, as in the
            paper, where fine maps profit from making adversarial noise.

    Example:
        >>> tp.deletion(model, images, tp.grad_cam(model, images)).value
    """
    return _curve("deletion", model, images, attribution, fills(model, images, fill), n_steps, cells, batch)


@metric(cite="petsiuk2018rise")
def insertion(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    n_steps: Annotated[int, Range(1, 10_000)] = 32,
    cells: Annotated[int | None, Range(1, 10_000)] = None,
    fill: Tensor | float | str = "blur",
    batch: Batch = "auto",
) -> Evaluation:
    """Speed at which the target's probability rises when the pixels that the map ranks highest are shown first.

    value = area under p(share of pixels shown), in [0, 1], high is good, starting from a blurred image.

    Args:
        n_steps: equal steps from nothing to everything shown (the paper: one per 224 px).
        cells: show whole squares of a grid with this many cells per side, ranked by their mean; None: single pixels.
        fill: what the image is inserted into: blur (sigma a twentieth of the side; the paper: 5 px), zero, mean, ...

    Example:
        >>> tp.insertion(model, images, tp.grad_cam(model, images)).value
    """
    return _curve("insertion", model, images, attribution, fills(model, images, fill), n_steps, cells, batch)


EVIDENCE: Mapping[str, Mapping[str, Any]] = {
    "deletion": {"cells": 14, "n_steps": 14, "fill": "blur"},
    "insertion": {"cells": 14, "n_steps": 14, "fill": "blur"},
}
"""Settings for comparing maps: squares of 16 px (in images of 224 px), fourteen per step. Hiding single pixels favours maps
that act as adversarial noise, and grey squares give images unlike any that a network was trained on."""


def _curve(
    name: Literal["deletion", "insertion"],
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    fill: Tensor,
    n_steps: int,
    cells: int | None,
    batch: Batch,
) -> Evaluation:
    """Measures one curve per image: hides the most important pixels first (deletion), or shows them first (insertion)."""
    first, second = (images, fill) if name == "deletion" else (fill, images)
    score, curve, fraction = replaced_in_order(model, images, attribution, first, second, n_steps, cells, batch)
    better: Better = "lower" if name == "deletion" else "higher"
    limits = (0.0, 1.0) if score.is_probability else (None, None)
    area = torch.trapezoid(curve, fraction)
    return evaluated(name, area, outcomes(attribution), better, limits, score=score, curve=curve, fraction=fraction)


def replaced_in_order(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    first: Tensor,
    second: Tensor,
    n_steps: int,
    cells: int | None,
    batch: Batch,
) -> tuple[ModelScore, Tensor, Tensor]:
    """Turns each image of `first` into that of `second`, the most important pixels first, in equal steps.

    Returns the score, its curves (n, n_steps + 1), and the share of pixels changed (n_steps + 1,).
    """
    score = as_probability(model, images, attribution.explains)
    ranking = attribution.ranking(size_of(images))
    before, after, size = model.laid_out(first), model.laid_out(second), batch_size(model, batch)
    curves = list[Tensor]()
    for row, importance in enumerate(ranking if cells is None else _in_cells(ranking, cells)):
        masks = staircase(descending(importance), (importance.shape[0], importance.shape[1]), n_steps)
        one = slice(row, row + 1)
        stream = scores_under(score, before[one], masks, after[one], batch=size, row=row, unit="steps")
        curves.append(torch.cat([values for _, values in stream]))
    curve = torch.stack(curves)
    return score, curve, torch.linspace(0, 1, n_steps + 1, device=curve.device, dtype=curve.dtype)


def _in_cells(ranking: Tensor, cells: int) -> Tensor:
    """Replaces each pixel of rankings (n, h, w) by the mean of its square in a cells x cells grid."""
    height, width = size_of(ranking)
    means = F.adaptive_avg_pool2d(ranking, (min(cells, height), min(cells, width)))
    return F.interpolate(means[:, None], (height, width), mode="nearest-exact")[:, 0]
