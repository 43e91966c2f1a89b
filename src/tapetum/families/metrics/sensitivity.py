"""Metrics that make a map again for slightly changed pictures: how far does it move?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

import torch
from torch import Tensor

from tapetum.border.methods import metric
from tapetum.border.sentences import Seed
from tapetum.families.metrics.measuring import evaluated, outcomes
from tapetum.models.vision_model import VisionModel
from tapetum.registry import lookup, methods, parameters
from tapetum.types import Attribution, Evaluation, MethodError, Range
from tapetum.types.outcomes import Outcome

Remake: TypeAlias = Callable[..., Attribution]
"""(model, images, target) -> map: the method that is made again."""

SAME = 1e-2
"""Share of a map's norm by which the same map may differ when it is made again, in a batch of another size."""

Radius: TypeAlias = Annotated[
    float, Range(1e-6, 100), "largest change of a value, in units of the model's input (captum: 0.02)."
]
AnotherMethod: TypeAlias = Annotated[
    Remake | None, "function (model, images, target) that makes the map again; None: the map's own, with its parameters."
]


@metric(cite="yeh2019infidelity", laws=("sampled",))
def max_sensitivity(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    radius: Radius = 0.02,
    n_samples: Annotated[int, Range(1, 10_000)] = 10,
    method: AnotherMethod = None,
    seed: Seed = 0,
) -> Evaluation:
    """Largest change of a map when the picture changes by noise that nobody sees.

    value = max over samples of |R(x + e) - R(x)| / |R(x)|, at least 0, low is good; e is uniform in [-radius, radius] for every
    value, R the map at its own resolution, |.| the root of the sum of squares; the target stays. The method of the map is run
    again, at its layer and with its parameters, 1 + n_samples times per image. A map that ignores the picture has the best
    value, 0, so this number says nothing about truth. NaN for a map of zeros, with NaN, or one that its method does not give
    again within 1 %: changed by hand, of a generator, or with parameters that a map does not keep, such as tensors; then give
    `method`. Quantus draws noise from [0, 0.2] instead, 200 times.

    Args:
        n_samples: changed pictures per image (captum: 10).

    Example:
        >>> tp.max_sensitivity(model, images, tp.saliency(model, images), n_samples=2).value
    """
    changes, status = _changes("max_sensitivity", model, images, attribution, radius, n_samples, method, seed)
    return evaluated("max_sensitivity", changes.amax(1), status, "lower", (0.0, None), parts={"change": changes})


@metric(cite="yeh2019infidelity", laws=("sampled",))
def average_sensitivity(
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    *,
    radius: Radius = 0.02,
    n_samples: Annotated[int, Range(1, 10_000)] = 10,
    method: AnotherMethod = None,
    seed: Seed = 0,
) -> Evaluation:
    """Mean change of a map when the picture changes by noise that nobody sees.

    value = mean over samples of |R(x + e) - R(x)| / |R(x)|, at least 0, low is good; all else as in `max_sensitivity`.

    Args:
        n_samples: changed pictures per image.

    Example:
        >>> tp.average_sensitivity(model, images, tp.saliency(model, images), n_samples=2).value
    """
    changes, status = _changes("average_sensitivity", model, images, attribution, radius, n_samples, method, seed)
    return evaluated("average_sensitivity", changes.mean(1), status, "lower", (0.0, None), parts={"change": changes})


def _changes(
    name: str,
    model: VisionModel,
    images: Tensor,
    attribution: Attribution,
    radius: float,
    n_samples: int,
    method: Remake | None,
    seed: int,
) -> tuple[Tensor, list[Outcome]]:
    """Returns the relative changes (n, n_samples) of each map, and one status per image; every image has the same noise."""
    if several := [one for one, rows in model.extra.items() if len(rows) > 1]:
        raise MethodError(
            f"{name} explains copies of an image, so the further input '{several[0]}' must be one row: explain one image"
        )
    again, status = method or remaking(name, attribution), outcomes(attribution, zero="zero")
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(n_samples, *images.shape[1:], generator=generator, dtype=torch.float64)
    noise = torch.cat([unit.new_zeros(1, *images.shape[1:]), radius * (2 * unit - 1)]).to(images)
    found: list[Tensor] = []
    for row, own in enumerate(status):
        if own != "ok":
            found.append(torch.full((n_samples,), torch.nan, dtype=torch.float64))
            continue
        target = attribution.explains[row]
        with model.at_rows([row] * len(noise)):
            made = again(model, images[row : row + 1] + noise, target if callable(target) else [target] * len(noise))
        first, *moved = made.values.double().flatten(1).cpu()
        given = attribution.values[row].double().flatten().cpu()
        if len(first) != len(given) or float((first - given).norm()) > SAME * float(given.norm()):
            status[row] = "not_repeated"
        found.append(torch.stack([(one - first).norm() / first.norm() for one in moved]))
    return torch.stack(found), status


def remaking(name: str, attribution: Attribution) -> Remake:
    """Returns the function (model, images, target) that makes a map again: its method, at its layer, with its parameters."""
    known = {method.name for method in methods(kind="attribution")}
    if attribution.method not in known:
        raise MethodError(
            f"{name} makes the map again, but no method is called '{attribution.method}': give method=function of (model,"
            " images, target)"
        )
    made_by, given = lookup(attribution.method), dict(attribution.parameters)
    if attribution.layer is not None and any(one.name == "layer" for one in parameters(made_by)):
        given["layer"] = attribution.layer

    def remake(model: VisionModel, images: Tensor, target: object) -> Attribution:
        return made_by.function(model, images, target, **given)

    return remake
