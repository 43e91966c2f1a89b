"""The border of every method: what the user gives is checked and converted here, once; bodies get a score and images.

    @attribution(cite="simonyan2014saliency", reduce="max_abs")
    def saliency(score, images, *, batch="auto"):        # the body: score in, tensor out
        return gradient(score, images, batch=batch).abs()

    saliency(model, images, target=None, *, batch="auto") -> Attribution        # what users call

Keywords with a meaning of their own are converted by name (`CONVERTED`), so a body gets a layer that exists, a fill that
is a tensor, segments that are labels, and a generator that is seeded.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, Literal, ParamSpec, cast

import torch
from torch import Tensor, nn

from tapetum.engines.perturb import as_fill, segment
from tapetum.engines.perturb.superpixels import given
from tapetum.engines.probe import activations, capture
from tapetum.engines.scores import ModelScore, PredictedScore, as_score, describe_targets, explained
from tapetum.models.layers import choose_layer
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo import load, wrap
from tapetum.registry import check_parameters, register
from tapetum.types import (
    Attribution,
    ImagesLike,
    LayerError,
    Method,
    ModelError,
    ModelLike,
    Question,
    Reduce,
    Scale,
    Status,
    TargetLike,
)

P = ParamSpec("P")
Body = Callable[Concatenate[ModelScore, Tensor, P], "Tensor | tuple[Tensor, Tensor]"]


@dataclass(frozen=True, eq=False)
class Call:
    """One call, converted: what a keyword converter may look at."""

    model: VisionModel
    images: Tensor
    given: Mapping[str, Any]
    laws: frozenset[str]


def attribution(
    *, cite: str | None, reduce: Reduce, scale: Scale = "logit", laws: Collection[str] = ()
) -> Callable[[Body[P]], Callable[..., Attribution]]:
    """Registers a body (score, images, *, keywords) -> values, or (values, standard error), as a public method."""

    def decorate(body: Body[P]) -> Callable[..., Attribution]:
        @functools.wraps(body)
        def public(model: ModelLike, images: ImagesLike, target: TargetLike = None, **keywords: Any) -> Attribution:
            given = check_parameters(method, keywords)
            with border(model, images) as (network, ready):
                score = _score(network, ready, target, scale, method)
                converted, notes = _converted(body, Call(network, ready, given, method.laws))
                result = cast("Callable[..., Tensor | tuple[Tensor, Tensor]]", body)(score, ready, **converted)
                return _attribution(method, score, ready, result, converted.get("layer"), notes + _input_notes(network, ready))

        signature = _public_signature(body)
        vars(public)["__signature__"] = signature
        public.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
        method = register(describe(public, cite, "attribution", laws, reduce, scale))
        return public

    return decorate


AT_IMAGE = "at_image"
"""The law of methods that ask for the score of the images themselves alone: the predicted class costs no pass of its own."""


def _score(model: VisionModel, images: Tensor, target: TargetLike, scale: Scale, method: Method) -> ModelScore:
    if target is None and AT_IMAGE in method.laws:
        return PredictedScore(model, tuple(range(len(images))))
    return as_score(model, images, target, scale)


def describe(
    function: Callable[..., Any],
    cite: str | None,
    kind: Literal["attribution", "metric", "inspection"],
    laws: Collection[str] = (),
    reduce: Reduce = "sum",
    scale: Scale = "logit",
) -> Method:
    """The registry's row for a public function: its family is its file or folder, its summary the first sentence."""
    questions: dict[str, Question] = {"attribution": "mattered", "metric": "trust", "inspection": "found"}
    family = function.__module__.removeprefix("tapetum.families.").partition(".")[0]
    summary = inspect.cleandoc(function.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    return Method(function.__name__, family, questions[kind], function, cite, frozenset(laws), summary, kind, reduce, scale)


@contextmanager
def border(model: ModelLike, images: ImagesLike) -> Generator[tuple[VisionModel, Tensor]]:
    """The model and the images, converted. Inside, nothing keeps a graph unless an engine asks for one."""
    with torch.inference_mode(False), torch.no_grad():
        network = as_model(model)
        with network.pinned():
            ready = network.as_images(images)
            yield network, ready.clone() if ready.is_inference() else ready


def as_model(model: ModelLike) -> VisionModel:
    """A `VisionModel` as it is; an `nn.Module` wrapped; a name loaded."""
    if isinstance(model, VisionModel):
        return model
    if isinstance(model, nn.Module):
        return wrap(model)
    if isinstance(model, str):
        return load(model)
    raise ModelError(f"a model is a VisionModel, a torch.nn.Module or a name that load takes, not {type(model).__name__}")


# --- keywords with a meaning of their own


def _layer(call: Call, layer: str | None) -> tuple[str, str | None]:
    if layer is not None:
        name = _named_layer(call.model, layer)
        return name, _negative_note(call, name) if POSITIVE in call.laws else None
    name, reason = choose_layer(call.model.survey)
    if POSITIVE in call.laws:
        name, reason = first_positive(call.model, name, reason)
    return name, f"layer {name} was chosen: {reason}"


def _named_layer(model: VisionModel, layer: str) -> str:
    names = model.find_layers(layer)
    if len(names) != 1:
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise LayerError(f"'{layer}' means {len(names)} layers of {model.name} ({shown}); give one")
    if model.survey[names[0]].grid is None:
        raise LayerError(f"{names[0]} of {model.name} gives no map (n, c, h, w) to look at")
    return names[0]


POSITIVE = "positive_layer"
"""The law of methods that take a channel's activation for evidence: at a layer with negative values a channel that helps
by being negative would count against its own place."""


def first_positive(model: VisionModel, name: str, reason: str) -> tuple[str, str]:
    """The first layer from `name` on, of the same grid, that is never negative: found out once, on noise, for any images."""
    positive = model.remember(f"positive layer from {name}", lambda: _first_positive(model, name))
    if positive == name:
        return name, reason
    if positive is None:
        return name, f"{reason}; its negative activations make the weights of some channels point the wrong way"
    return positive, f"the first layer from {name} on, of the same grid, without negative activations"


def _first_positive(model: VisionModel, name: str) -> str | None:
    order, survey = model.survey.order, model.survey
    same = [one for one in order[order.index(name) :] if survey[one].grid == survey[name].grid]
    with capture(model, same) as acts:
        model(_noise(model))
    positive = next((one for one in same if acts[one].min() >= 0), None)
    for outer in same:
        if positive is not None and positive.startswith(f"{outer}.") and torch.equal(acts[outer], acts[positive]):
            positive = outer  # the enclosing module that returns the same map has the better name
    return positive


def _noise(model: VisionModel) -> Tensor:
    """Four model-ready images of unit noise, always the same."""
    side, channels = model.preprocessing.size, len(model.preprocessing.mean)
    noise = torch.randn(4, channels, side, side, generator=torch.Generator().manual_seed(0))
    return noise.to(model.device, model.dtype)


def _negative_note(call: Call, name: str) -> str | None:
    if activations(call.model, call.images, name).min() >= 0:
        return None
    return f"layer {name} has negative activations: channels that help by being negative count against their own place"


def _fill(call: Call, fill: Any) -> tuple[Tensor, None]:
    return as_fill(call.model, call.images, fill), None


def _generator(call: Call, generator: torch.Generator | None) -> tuple[torch.Generator, None]:
    seed = call.given["seed"]
    return (torch.Generator().manual_seed(seed) if generator is None else generator), None


def _segments(call: Call, segments: Any) -> tuple[Tensor, str | None]:
    """Labels (n, h, w) of what each image shows: a picture that is one segment has nothing to compare."""
    pixels = call.model.denormalize(call.images)
    n = call.given.get("n_segments", 50)
    labels = given(segments, pixels) if isinstance(segments, Tensor) else segment(pixels, segments, n)
    single = not labels.flatten(1).amax(1).all()
    return labels, "an image is one segment, so no place stands out: segments='grid' always cuts it" if single else None


CONVERTED: dict[str, Callable[[Call, Any], tuple[Any, str | None]]] = {
    "layer": _layer,
    "fill": _fill,
    "baseline": _fill,
    "generator": _generator,
    "segments": _segments,
}


def _converted(body: Callable[..., Any], call: Call) -> tuple[dict[str, Any], tuple[str, ...]]:
    wanted = [p.name for p in inspect.signature(body).parameters.values() if p.kind is p.KEYWORD_ONLY]
    results = {name: CONVERTED.get(name, lambda _, value: (value, None))(call, call.given[name]) for name in wanted}
    notes = tuple(note for _, note in results.values() if note)
    return {name: value for name, (value, _) in results.items()}, notes


def _public_signature(body: Callable[..., Any]) -> inspect.Signature:
    """(model, images, target=None, *, the body's keywords); a `generator` brings `seed` with it."""
    kind = inspect.Parameter
    head = [
        kind("model", kind.POSITIONAL_OR_KEYWORD, annotation=ModelLike),
        kind("images", kind.POSITIONAL_OR_KEYWORD, annotation=ImagesLike),
        kind("target", kind.POSITIONAL_OR_KEYWORD, default=None, annotation=TargetLike),
    ]
    keywords: list[inspect.Parameter] = []
    for parameter in inspect.signature(body, eval_str=True).parameters.values():
        if parameter.name == "generator":
            keywords += [
                kind("seed", kind.KEYWORD_ONLY, default=0, annotation=int),
                parameter.replace(default=None, annotation=torch.Generator | None),
            ]
        elif parameter.kind is kind.KEYWORD_ONLY:
            keywords.append(parameter)
    return inspect.Signature(head + keywords, return_annotation=Attribution)


# --- results


def _attribution(
    method: Method,
    score: ModelScore,
    images: Tensor,
    result: Tensor | tuple[Tensor, Tensor],
    layer: str | None,
    notes: tuple[str, ...],
) -> Attribution:
    values, stderr = result if isinstance(result, tuple) else (result, None)
    n = len(images)
    height, width = images.shape[-2:]
    return Attribution(
        values=values.detach(),
        method=method.name,
        status=status_of(values.detach(), method.reduce),
        target=describe_targets(score, n),
        explains=explained(score, n),
        size=(int(height), int(width)),
        reduce=method.reduce,
        layer=layer,
        stderr=stderr,
        notes=notes,
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


def _input_notes(model: VisionModel, images: Tensor) -> tuple[str, ...]:
    """Images in [0, 1] for a model that expects normalised ones are the commonest silent mistake."""
    mean, std = model.preprocessing.mean, model.preprocessing.std
    normalised = all(m == 0 for m in mean) and all(s == 1 for s in std)
    if normalised or images.min() < 0 or images.max() > 1:
        return ()
    return ("the images lie in [0, 1] although the model expects normalised ones: use model.preprocess",)
