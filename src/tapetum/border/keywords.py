"""Keywords with a meaning of their own: converted by name, so a body gets a layer that exists, a fill that is a tensor,
segments that are labels, and a generator that is seeded; and those that every method of a kind has without asking
(`seed`, `fuse`, `like`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.border.fusion import Fuse
from tapetum.border.layers import POSITIVE, layer_of
from tapetum.border.profiles import PROFILES
from tapetum.border.sentences import Generator, Seed
from tapetum.engines.perturb import Segmentation, as_fill, segment
from tapetum.engines.perturb.superpixels import own_segments
from tapetum.engines.probe import activations
from tapetum.engines.scores import ModelScore
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import Attribution, ImagesLike, Method, ModelLike, TargetLike

BEST = "best"
"""`layer="best"`: several are tried, and the map that stands up best is kept."""

Chooser: TypeAlias = Callable[[Method, VisionModel, Tensor, TargetLike, Mapping[str, Any]], Attribution]
"""(method, model, images, target, keywords) -> the map at the chosen layer."""

CHOOSERS: dict[str, Chooser] = {}
"""Words for `layer` that stand for a choice by measurement."""


def chooser(word: str) -> Callable[[Chooser], Chooser]:
    """Registers a choice of layer under the word that asks for it."""

    def decorate(choose: Chooser) -> Chooser:
        CHOOSERS[word] = choose
        return choose

    return decorate


@dataclass(frozen=True, eq=False)
class Request:
    """Input of a keyword's conversion: the score and images that are explained, and the other keywords as given."""

    score: ModelScore
    images: Tensor
    given: Mapping[str, Any]
    laws: frozenset[str]

    @property
    def model(self) -> VisionModel:
        return self.score.model


def _layer(request: Request, layer: str | None) -> str:
    name = layer_of(request.score, request.images, layer, request.laws)
    if layer is not None and POSITIVE in request.laws and activations(request.model, request.images, name).min() < 0:
        note(f"layer {name} has negative activations: channels that help by being negative count against their own place")
    return name


def _fill(request: Request, fill: Any) -> Tensor:
    return as_fill(request.model, request.images, fill)


def _generator(request: Request, generator: torch.Generator | None) -> torch.Generator:
    return torch.Generator().manual_seed(request.given["seed"]) if generator is None else generator


def _segments(request: Request, segments: Any) -> Tensor:
    """Labels (n, h, w) of what each image shows: a picture that is one segment has nothing to compare."""
    pixels = request.model.denormalize(request.images)
    by_kind = not isinstance(segments, Tensor)
    labels = segment(pixels, segments, request.given.get("n_segments", 50)) if by_kind else own_segments(segments, pixels)
    if not labels.flatten(1).amax(1).all():
        note("an image is one segment, so no place stands out: segments='grid' always cuts it")
    return labels


@dataclass(frozen=True)
class _Conversion:
    """How a keyword becomes what bodies take, what users may give for it, and its default where the body names none."""

    convert: Callable[[Request, Any], Any]
    given: Any
    default: str | None = None


CONVERTED = {
    "layer": _Conversion(_layer, str | Sequence[str] | None),
    "fill": _Conversion(_fill, Tensor | float | str, "zero"),
    "baseline": _Conversion(_fill, Tensor | float | str, "zero"),
    "generator": _Conversion(_generator, torch.Generator | None),
    "segments": _Conversion(_segments, Segmentation | Tensor, "slic"),
}


def converted(body: Callable[..., Any], request: Request) -> dict[str, Any]:
    """The body's keywords as it takes them. If `fill` defaults to None, the method hides pixels itself and gets None."""
    result: dict[str, Any] = {}
    for name, default in keyword_defaults(body).items():
        value = request.given[name]
        as_it_is = name not in CONVERTED or (name == "fill" and default is None and value is None)
        result[name] = value if as_it_is else CONVERTED[name].convert(request, value)
    return result


@functools.cache
def keyword_defaults(body: Callable[..., Any]) -> dict[str, Any]:
    """{name: default} of a body's keywords."""
    return {p.name: p.default for p in inspect.signature(body).parameters.values() if p.kind is p.KEYWORD_ONLY}


def public_signature(body: Callable[..., Any]) -> inspect.Signature:
    """(model, images, target=None, *, the body's keywords).

    A `generator` brings `seed` with it, a `layer` may be several and brings `fuse`; a method that libraries define in
    different ways has `like`.
    """
    kind = inspect.Parameter
    head = [
        kind("model", kind.POSITIONAL_OR_KEYWORD, annotation=ModelLike),
        kind("images", kind.POSITIONAL_OR_KEYWORD, annotation=ImagesLike),
        kind("target", kind.POSITIONAL_OR_KEYWORD, default=None, annotation=TargetLike),
    ]
    keywords: list[inspect.Parameter] = []
    for parameter in inspect.signature(body, eval_str=True).parameters.values():
        if parameter.kind is kind.KEYWORD_ONLY:
            keywords += _public(parameter)
    if profiles := tuple(PROFILES.get(body.__name__, ())):
        choices: Any = Literal[profiles]
        keywords.append(_keyword("like", None, Annotated[choices | None, LIKE]))
    return inspect.Signature(head + keywords, return_annotation=Attribution)


LIKE = "the defaults and the output of a library, or of the paper; None: ours."


def _public(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """A keyword of the body as users give it, and those that come with it."""
    if parameter.name == "generator":
        return [_keyword("seed", 0, Seed), _keyword("generator", None, Generator)]
    if parameter.name not in CONVERTED:
        return [parameter]
    kind, default = CONVERTED[parameter.name], parameter.default
    given = kind.given if default is not None else kind.given | None
    sentences = getattr(parameter.annotation, "__metadata__", ())
    public = parameter.replace(
        default=kind.default if default is parameter.empty else default,
        annotation=Annotated[given, *sentences] if sentences else given,
    )
    return [public, _keyword("fuse", "mean", Fuse)] if parameter.name == "layer" else [public]


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
