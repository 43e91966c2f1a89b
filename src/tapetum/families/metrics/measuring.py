"""What the metrics share: whether a map can be measured, the score that it explains, correlations, and their result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tapetum.border.attributions import status_of
from tapetum.engines.perturb import as_fill
from tapetum.engines.scores import ModelScore, as_score
from tapetum.models.vision_model import VisionModel
from tapetum.registry import methods
from tapetum.types import Attribution, Better, Evaluation, Scale
from tapetum.types.outcomes import Outcome


def outcomes(attribution: Attribution, *, constant: Outcome = "ok", zero: Outcome = "ok") -> list[Outcome]:
    """Returns per image non_finite, or what is given for a map that is constant, or zero everywhere; else ok."""
    found: list[Outcome] = []
    for own, status, values in zip(
        attribution.status, status_of(attribution.values, attribution.reduce), attribution.values, strict=True
    ):
        if "non_finite" in (own, status):
            found.append("non_finite")
        elif zero != "ok" and not bool(values.any()):
            found.append(zero)
        else:
            found.append(constant if status == "constant" else "ok")
    return found


def explained(model: VisionModel, images: Tensor, attribution: Attribution) -> ModelScore:
    """Builds the score that a map explains, on the scale of the map's method: the logit, or for some the probability."""
    targets = attribution.explains
    scales: dict[str, Scale] = {method.name: method.scale for method in methods(kind="attribution")}
    scale = scales.get(attribution.method, "logit")
    return as_score(model, images, targets[0] if callable(targets[0]) else list(targets), scale)


def fills(model: VisionModel, images: Tensor, fill: Tensor | float | str) -> Tensor:
    """Returns what replaces hidden pixels (n, c, h, w), made image by image: its bits do not depend on the others."""
    if isinstance(fill, Tensor):
        return as_fill(model, images, fill)
    return torch.cat([as_fill(model, one, fill) for one in images.split(1)])


def evaluated(
    metric: str,
    value: Tensor,
    status: Sequence[Outcome],
    better: Better,
    limits: tuple[float | None, float | None],
    *,
    score: ModelScore | None = None,
    curve: Tensor | None = None,
    fraction: Tensor | None = None,
    parts: Mapping[str, Tensor] | None = None,
) -> Evaluation:
    """Makes the result of a metric: NaN where the status is not ok, and a status that says so wherever there is NaN."""
    lost: Sequence[Outcome] = [
        "non_finite_output" if one == "ok" and bool(number.isnan()) else one for one, number in zip(status, value, strict=True)
    ]
    undefined = torch.tensor([one != "ok" for one in lost], device=value.device)
    return Evaluation(
        metric,
        value.masked_fill(undefined, torch.nan),
        value.new_zeros(len(value), 0) if curve is None else curve,
        value.new_zeros(0) if fraction is None else fraction,
        better,
        "probability" if score is not None and score.is_probability else "score",
        tuple(lost),
        limits,
        {} if parts is None else parts,
    )


def level(values: Tensor, least: float = 1e-9) -> Tensor:
    """Returns whether rows (..., m) are constant but for rounding: their range is at most `least` of the largest magnitude."""
    return values.amax(-1) - values.amin(-1) <= least * values.abs().amax(-1)
