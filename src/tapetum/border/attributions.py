"""Runs attribution methods: builds the score, converts the keywords, calls the body, and returns the map with its status."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from tapetum.border.fusion import by_largest, fused
from tapetum.border.keywords import CHOOSERS, Request, converted
from tapetum.border.layers import named_layers
from tapetum.border.profiles import Profile, profile, through
from tapetum.engines.scores import ClassScore, ModelScore, as_score, predicted_score
from tapetum.models.opaque import unseen
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import hidden, shown_as
from tapetum.types import Attribution, Method, MethodError, Reduce, Status, TargetLike

AT_IMAGE = "at_image"
"""Law (property) of methods that evaluate the score only on the images, so that the predicted class needs no extra pass."""

CLASS_ONLY = "class_only"
"""Law (property) of methods that explain only classes, no other targets."""

NEEDS: Mapping[str, Literal["layers", "operations", "gradients"]] = {
    "cams": "layers", "backprops": "operations", "contributions": "operations", "attentions": "operations",
    "gradients": "gradients", "extremal_perturbation": "gradients",
}  # fmt: skip
"""{family or method: part of a network that it reads besides the output}."""


def attributed(
    method: Method, body: Callable[..., Any], about: Mapping[str, Any], given: dict[str, Any], keywords: Mapping[str, Any]
) -> Attribution:
    """Computes the map of one call; `given` has all keywords with defaults, `keywords` only those that the user gave."""
    model, images, target = about["model"], about["images"], about["target"]
    needs = NEEDS.get(method.name) or NEEDS.get(method.family)
    if needs and (refusal := model.remember(f"shows no {needs}", lambda: unseen(model.module, model.name, needs))):
        raise MethodError(refusal)
    layer, like = given.get("layer"), given.get("like")
    if isinstance(layer, str) and layer in CHOOSERS:
        return CHOOSERS[layer](method, model, images, target, keywords)
    predicted = target is None and AT_IMAGE in method.laws
    score = predicted_score(model, images) if predicted else _score(model, images, target, method)
    size = int(images.shape[-2]), int(images.shape[-1])
    layers = [None] if layer is None else named_layers(layer)
    join = None if like is None and len(layers) == 1 else (profile(method.name, like), given.get("fuse", "mean"), size)
    with nullcontext() if join is None else _shown(len(layers), *join):
        parts = [_at_layer(body, Request(score, images, given, method.laws), one) for one in layers]
    made = parts[0] if join is None else _joined(parts, *join)
    folded = model.frames is not None and made.values.shape[1] == images.shape[1]
    if model.frames is not None and not folded:
        note(f"this map is of all {model.frames} frames together")
    return Attribution(
        values=made.values,
        method=method.name,
        status=status_of(made.raw, method.reduce),
        target=score.describe(len(images)),
        explains=score.explains(len(images)),
        size=size,
        reduce=method.reduce,
        layer=made.layer,
        stderr=made.stderr,
        photos=model.batches.of(images)[0],
        frames=model.frames if folded else None,
        parameters={name: value for name, value in keywords.items() if _restorable(value)},
    )


def _restorable(value: Any) -> bool:
    """Returns whether a keyword is a number, a text or None, or a list of such: a call with it can be made again."""
    parts: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
    return all(one is None or isinstance(one, (bool, int, float, str)) for one in parts)


def _score(model: VisionModel, images: Tensor, target: TargetLike, method: Method) -> ModelScore:
    score = as_score(model, images, target, method.scale)
    classes = isinstance(score, ClassScore) and all(isinstance(one, int) for one in score.targets)
    if CLASS_ONLY in method.laws and not classes:
        raise MethodError(f"{method.name} compares a class with similar ones: give a class, or contrast(a, b) to grad_cam")
    return score


# --- one run of the body, or one per layer


@dataclass(frozen=True, eq=False)
class _Outcome:
    """A body's values before (`raw`) and after the steps of a library's profile; the status is computed from `raw`."""

    raw: Tensor
    values: Tensor
    stderr: Tensor | None
    layer: str | None


def _at_layer(body: Callable[..., Any], request: Request, layer: str | None) -> _Outcome:
    given = {**request.given, "layer": layer} if "layer" in request.given else request.given
    keywords = converted(body, replace(request, given=given))
    result = body(request.score, request.images, **keywords)
    values, stderr = result if isinstance(result, tuple) else (result, None)
    raw = values.detach()
    return _Outcome(raw, raw, stderr, keywords.get("layer"))


def _joined(parts: Sequence[_Outcome], like: Profile, fuse: Literal["mean", "max"], size: tuple[int, int]) -> _Outcome:
    """Applies the steps of a library's profile, and fuses the maps of several layers."""
    each = [through(like.each, part.values, size) for part in parts]
    if len(parts) == 1:
        return replace(parts[0], values=through(like.after, each[0], size))
    maps = [through(like.join, one, size) if like.each else by_largest(one) for one in each]
    note(f"{len(parts)} layers are fused by their {fuse}")
    raw = fused([by_largest(part.raw) for part in parts], fuse)
    return _Outcome(raw, through(like.after, fused(maps, fuse), size), None, ", ".join(str(one.layer) for one in parts))


def _shown(n_layers: int, like: Profile, fuse: Literal["mean", "max"], size: tuple[int, int]) -> AbstractContextManager[None]:
    """Returns a context in which watchers see maps so far as a library gives them; of several layers that are fused, none."""
    if n_layers > 1:
        return hidden()
    return shown_as(lambda values, _: _joined([_Outcome(values, values, None, None)], like, fuse, size).values)


# --- the outcome


def status_of(values: Tensor, reduce: Reduce) -> tuple[Status, ...]:
    """Returns one status per image: "non_finite", "constant", "no_positive_evidence", or "ok"."""
    found: list[Status] = []
    for value in values.float():
        flat = value.abs().amax(0) if reduce == "max_abs" else value.sum(0)
        if not torch.isfinite(value).all():
            found.append("non_finite")
        elif flat.max() - flat.min() <= 1e-6 * flat.abs().max():
            found.append("constant")
        else:
            found.append("no_positive_evidence" if reduce != "max_abs" and flat.max() <= 0 else "ok")
    return tuple(found)
