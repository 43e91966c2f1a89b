"""Objectives on the model's answer: a class, a contrast, a number, a similarity, or any other target of explanations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tapetum.engines.render.objectives.base import OUTPUT, Objective, Seen
from tapetum.engines.render.objectives.common import call_text
from tapetum.engines.scores import CallableScore, ModelScore, check_target
from tapetum.engines.scores.building import answers_for, score_of
from tapetum.engines.scores.embeddings import embedded
from tapetum.models.vision_model import VisionModel
from tapetum.types import Box, Concept, Contrast, Region, Scale, Scaled, Similarity, TargetError, Unit


def class_logit(label: int | str) -> Objective:
    """Logit (n,) of a class, given by index or name."""
    return target(label, name=call_text("class_logit", label))


def class_probability(label: int | str) -> Objective:
    """Probability (n,) of a class. Its gradient vanishes where the model is sure; the gradient of `class_log_probability` does
    not.
    """
    return target(Scaled(label, "probability"), name=call_text("class_probability", label))


def class_log_probability(label: int | str) -> Objective:
    """Logarithm (n,) of the probability of a class; unlike the logit, it is high only if other classes are unlikely."""
    return target(Scaled(label, "log_probability"), name=call_text("class_log_probability", label))


def class_contrast(a: int | str, b: int | str) -> Objective:
    """Evidence (n,) for class a rather than class b: the difference of their logits."""
    return target(Contrast(a, b), name=call_text("class_contrast", a, b))


def target(what: Any, *, scale: Scale = "logit", name: str | None = None) -> Objective:
    """Score (n,) of any target on the model's answer: a class, `tp.probability(...)`, `tp.contrast(...)`, `tp.Output`,
    `tp.Box` with corners, `tp.Region` with a mask, `tp.Similarity`, or a function of the output that returns (n,).

    Refuses targets that the model would have to find in a photograph: the predicted class, the most confident box.
    """
    _check_given(what)
    scores: dict[VisionModel, ModelScore] = {}

    def value(seen: Seen) -> Tensor:
        if seen.model not in scores:
            scores[seen.model] = _score(seen.model, seen.images[:1], what, scale)
        values = scores[seen.model].take([0] * len(seen)).read(seen.output)
        if len(values) != len(seen):
            raise TargetError(f"a callable target returns one value per image: {len(values)} came back for {len(seen)}")
        return values.to(torch.promote_types(values.dtype, seen.pixels.dtype))

    return Objective(name or call_text("target", getattr(what, "__name__", what)), (OUTPUT,), value)


def checked_answer(model: VisionModel, what: Any) -> Any:
    """Checks a target for a model before a picture is made; returns it with texts read and labels replaced by indices."""
    _check_given(what)
    (found,) = check_target(model, model.blank(), what)
    _check_given(found)
    return found


def _score(model: VisionModel, image: Tensor, what: Any, scale: Scale) -> ModelScore:
    if callable(what):
        function: Any = what
        return CallableScore(model, function)
    (found,) = check_target(model, image.detach(), what)
    _check_given(found)
    what_for = (embedded(model, found) if isinstance(found, Similarity) else found,)
    return score_of(model, what_for, answers_for(model, image.detach(), what_for), scale)


def _check_given(what: Any) -> None:
    if isinstance(what, (list, tuple)):
        raise TargetError("an objective has one target: give each(...) one objective a picture")
    if isinstance(what, (Unit, Concept)):
        kind = "unit" if isinstance(what, Unit) else "concept"
        raise TargetError(f"{what} is inside the network: {kind}({what}) is its objective")
    if what is None or (isinstance(what, Scaled) and what.of is None):
        raise TargetError("a picture that is yet to be made has no predicted class: name one")
    if isinstance(what, Box) and what.corners is None:
        raise TargetError(f"a picture yet to be made has no surest box: give the corners, Box({what.label!r}, x1, ...)")
    if isinstance(what, Region) and what.mask is None:
        raise TargetError(f"a picture that is yet to be made has no region of {what.label}: give its mask or corners")
