"""The border of every method: what the user gives is checked and converted here, once; bodies get a score and images.

    @attribution(cite="simonyan2014saliency", reduce="max_abs")
    def saliency(score, images, *, batch="auto"):        # the body: score in, tensor out
        return gradient(score, images, batch=batch).abs()

    saliency(model, images, target=None, *, batch="auto") -> Attribution        # what users call

`keywords.py` converts keywords with a meaning of their own, `profiles.py` holds how libraries define a method differently,
`choosing.py` tries several layers. A method that finds out what a reader must know says it with `note`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Concatenate, Literal, ParamSpec, cast

import torch
from torch import Tensor, nn

from tapetum.border.fusion import by_largest, fused
from tapetum.border.keywords import BEST, Call, converted, public_signature
from tapetum.border.layers import POSITIVE, by_name, named_layers
from tapetum.border.profiles import PROFILES, Profile, profile, through
from tapetum.engines.scores import ClassScore, ModelScore, PredictedScore, answer, as_score, describe_targets, explained
from tapetum.models.extra import check_rows
from tapetum.models.fitting import in_plain_words
from tapetum.models.opaque import opaque, unseen
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo import load, wrap
from tapetum.notes import note, noting
from tapetum.registry import check_parameters, register
from tapetum.types import (
    Attribution,
    FourQuestions,
    ImagesLike,
    Kind,
    Method,
    MethodError,
    ModelError,
    ModelLike,
    Reduce,
    Scale,
    Status,
    TargetLike,
)

__all__ = ["AT_IMAGE", "POSITIVE", "as_model", "attribution", "border", "describe", "status_of"]

P = ParamSpec("P")
Body = Callable[Concatenate[ModelScore, Tensor, P], "Tensor | tuple[Tensor, Tensor]"]


def attribution(
    *, cite: str | None, reduce: Reduce, scale: Scale = "logit", laws: Collection[str] = ()
) -> Callable[[Body[P]], Callable[..., Attribution]]:
    """Registers a body (score, images, *, keywords) -> values, or (values, standard error), as a public method."""

    def decorate(body: Body[P]) -> Callable[..., Attribution]:
        @functools.wraps(body)
        def public(model: ModelLike, images: ImagesLike, target: TargetLike = None, **keywords: Any) -> Attribution:
            like = profile(method.name, keywords.get("like"))
            given = check_parameters(method, {**like.defaults, **keywords})
            with noting() as said, border(model, images) as (network, ready):
                check_seen(network, method)
                given = by_name(network, given)
                if given.get("layer") == BEST:
                    return _choosing().best_layer(method, network, ready, target, keywords)
                score = _score(network, ready, target, method)
                made = _made(body, score, Call(score, ready, given, method.laws), like)
                return _attribution(method, score, ready, made, tuple(said))

        signature = public_signature(body, tuple(PROFILES.get(body.__name__, ())))
        vars(public)["__signature__"] = signature
        public.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
        method = register(describe(public, cite, "attribution", laws, reduce, scale))
        return public

    return decorate


def _choosing() -> Any:
    """Imported when it is needed: it calls methods, and methods are made here."""
    return importlib.import_module("tapetum.families.choosing")


@dataclass(frozen=True, eq=False)
class _Made:
    """What bodies gave, before and after the profile's steps; `raw` decides the status."""

    raw: Tensor
    values: Tensor
    stderr: Tensor | None
    layer: str | None


def _made(body: Callable[..., Any], score: ModelScore, call: Call, like: Profile) -> _Made:
    """One run of the body, or one for each layer."""
    size = int(call.images.shape[-2]), int(call.images.shape[-1])
    parts: list[_Made] = []
    layers = named_layers(call.given.get("layer"))
    for layer in layers:
        given = {**call.given, "layer": layer} if "layer" in call.given else call.given
        keywords, notes = converted(body, Call(score, call.images, given, call.laws))
        for sentence in notes:
            note(sentence)
        result = cast("Callable[..., Tensor | tuple[Tensor, Tensor]]", body)(score, call.images, **keywords)
        values, stderr = result if isinstance(result, tuple) else (result, None)
        parts.append(_Made(values.detach(), through(like.each, values.detach(), size), stderr, keywords.get("layer")))
    if len(parts) == 1:
        return replace(parts[0], values=through(like.after, parts[0].values, size))
    maps = [through(like.join, part.values, size) if like.each else by_largest(part.values) for part in parts]
    joined = through(like.after, fused(maps, call.given["fuse"]), size)
    raw = fused([by_largest(part.raw) for part in parts], call.given["fuse"])
    note(f"{len(parts)} layers are fused by their {call.given['fuse']}")
    return _Made(raw, joined, None, ", ".join(str(part.layer) for part in parts))


AT_IMAGE = "at_image"
"""The law of methods that ask for the score of the images themselves alone: the predicted class costs no pass of its own."""


CLASS_ONLY = "class_only"
"""The law of methods that explain a class and nothing else."""


def _are_classes(score: ModelScore) -> bool:
    return isinstance(score, ClassScore) and all(isinstance(one, int) for one in score.targets)


def _score(model: VisionModel, images: Tensor, target: TargetLike, method: Method) -> ModelScore:
    if target is None and AT_IMAGE in method.laws:
        if model.outputs != "logits" and model.encode_text is None:
            answer(model, images)  # known before the method's own pass, inside of which nobody else may run the network
        return PredictedScore(model, rows=tuple(range(len(images))))
    score = as_score(model, images, target, method.scale)
    if CLASS_ONLY in method.laws and not _are_classes(score):
        raise MethodError(f"{method.name} compares a class with similar ones: give a class, or contrast(a, b) to grad_cam")
    return score


def describe(
    function: Callable[..., Any],
    cite: str | None,
    kind: Kind,
    laws: Collection[str] = (),
    reduce: Reduce = "sum",
    scale: Scale = "logit",
) -> Method:
    """The registry's row for a public function: its family is its file or folder, its summary the first sentence."""
    questions: dict[Kind, FourQuestions] = {
        "attribution": "mattered",
        "metric": "trust",
        "inspection": "found",
        "rendering": "looks_for",
    }
    family = function.__module__.removeprefix("tapetum.families.").partition(".")[0]
    summary = inspect.cleandoc(function.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    return Method(function.__name__, family, questions[kind], function, cite, frozenset(laws), summary, kind, reduce, scale)


@contextmanager
def border(
    model: ModelLike, given: Any, convert: Callable[[VisionModel, Any], Any] = VisionModel.as_images
) -> Generator[tuple[VisionModel, Any]]:
    """The model and what it is asked about, converted. Inside, nothing keeps a graph unless an engine asks for one.

    Where the network fails on images of that size, torch's words become a refusal that says which size it takes.
    """
    with torch.inference_mode(False), torch.no_grad():
        network = as_model(model, given if convert is VisionModel.as_images else None)
        for sentence in network.notes:
            note(sentence)
        with network.pinned():
            ready = convert(network, given)
            ready = ready.clone() if isinstance(ready, Tensor) and ready.is_inference() else ready
            if isinstance(ready, Tensor):
                check_rows(network.extra, len(ready))
            with network.seeing(ready), in_plain_words(network, network.size):
                yield network, ready


def as_model(model: ModelLike, images: Any = None) -> VisionModel:
    """A `VisionModel` as it is; an `nn.Module` wrapped, for images of the size that is given; a name loaded."""
    if isinstance(model, VisionModel):
        return model
    if isinstance(model, nn.Module):
        ready = isinstance(images, Tensor) and images.ndim == 4 and images.is_floating_point()
        return wrap(model, size=tuple(images.shape[-2:]) if ready else None)
    if isinstance(model, str):
        return load(model)
    if opaque(model) is not None:
        return wrap(model)
    raise ModelError(f"a model is a VisionModel, a torch.nn.Module or a name that load takes, not {type(model).__name__}")


NEEDS: dict[str, Literal["layers", "operations", "gradients"]] = {
    "cams": "layers", "backprops": "operations", "contributions": "operations", "attentions": "operations",
    "gradients": "gradients", "extremal_perturbation": "gradients",
}  # fmt: skip
"""What of a network families, and single methods, look at besides its answer."""


def check_seen(model: VisionModel, method: Method) -> None:
    """Refuses a method that looks at what this network does not show."""
    needs = NEEDS.get(method.name) or NEEDS.get(method.family)
    refusal = None if needs is None else unseen(model.module, model.name, needs)
    if refusal is not None:
        raise MethodError(refusal)


# --- results


def _attribution(method: Method, score: ModelScore, images: Tensor, made: _Made, notes: tuple[str, ...]) -> Attribution:
    n, frames = len(images), score.model.frames
    folded = frames is not None and made.values.shape[1] == images.shape[1]
    if frames is not None and not folded:
        notes = (*notes, f"this map is of all {frames} frames together")
    height, width = images.shape[-2:]
    return Attribution(
        values=made.values,
        method=method.name,
        status=status_of(made.raw, method.reduce),
        target=describe_targets(score, n),
        explains=explained(score, n),
        size=(int(height), int(width)),
        reduce=method.reduce,
        layer=made.layer,
        stderr=made.stderr,
        notes=notes,
        photos=score.model.photos.of(images),
        frames=frames if folded else None,
    )


def status_of(values: Tensor, reduce: Reduce) -> tuple[Status, ...]:
    """One status per image, from the map itself: a heatmap that would be blank or made up says so."""
    return tuple(_status(value.float(), reduce) for value in values)


def _status(value: Tensor, reduce: Reduce) -> Status:
    if not torch.isfinite(value).all():
        return "non_finite"
    flat = value.abs().amax(0) if reduce == "max_abs" else value.sum(0)
    if flat.max() - flat.min() <= 1e-6 * flat.abs().max():
        return "constant"
    return "no_positive_evidence" if reduce != "max_abs" and flat.max() <= 0 else "ok"
