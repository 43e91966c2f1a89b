"""Converts keywords by name: a body gets a layer that exists, a fill as a tensor, segments as labels, a seeded generator.

Also adds the public keywords that a body does not declare itself: `seed`, `fuse` and `like`.
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
from tapetum.border.layers import layer_of
from tapetum.border.profiles import PROFILES
from tapetum.border.sentences import Generator, Seed
from tapetum.engines.perturb import Segmentation, as_fill, segment
from tapetum.engines.perturb.superpixels import own_segments
from tapetum.engines.scores import ModelScore
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import Attribution, ImagesLike, Method, ModelLike, TargetLike

BEST = "best"
"""`layer="best"`: several layers are tried, and the map with the highest insertion - deletion is kept."""

Chooser: TypeAlias = Callable[[Method, VisionModel, Tensor, TargetLike, Mapping[str, Any]], Attribution]
"""(method, model, images, target, keywords) -> the map at the chosen layer."""

CHOOSERS: dict[str, Chooser] = {}
"""{value of `layer`, such as "best": function that chooses the layer by measuring}."""


def chooser(word: str) -> Callable[[Chooser], Chooser]:
    """Registers a function that chooses the layer; users select it by `layer=word`."""

    def decorate(choose: Chooser) -> Chooser:
        CHOOSERS[word] = choose
        return choose

    return decorate


@dataclass(frozen=True, eq=False)
class Request:
    """Input for converting a keyword: the score and images to explain, all keywords as given, and the method's laws."""

    score: ModelScore
    images: Tensor
    given: Mapping[str, Any]
    laws: frozenset[str]

    @property
    def model(self) -> VisionModel:
        return self.score.model


def _fill(request: Request, fill: Any) -> Tensor:
    return as_fill(request.model, request.images, fill)


def _generator(request: Request, generator: torch.Generator | None) -> torch.Generator:
    return torch.Generator().manual_seed(request.given["seed"]) if generator is None else generator


def _segments(request: Request, segments: Any) -> Tensor:
    """Returns segment labels (n, h, w); adds a note if an image is one single segment, whose map would be constant."""
    pixels = request.model.denormalize(request.images)
    by_kind = not isinstance(segments, Tensor)
    labels = segment(pixels, segments, request.given.get("n_segments", 50)) if by_kind else own_segments(segments, pixels)
    if not labels.flatten(1).amax(1).all():
        note("an image is one segment, so no place stands out: segments='grid' always cuts it")
    return labels


@dataclass(frozen=True)
class _Conversion:
    """Conversion of one keyword: the function, the public type (`given`), and the default where the body has none."""

    convert: Callable[[Request, Any], Any]
    given: Any
    default: str | None = None


CONVERTED = {
    "layer": _Conversion(
        lambda request, layer: layer_of(request.score, request.images, layer, request.laws), str | Sequence[str] | None
    ),
    "fill": _Conversion(_fill, Tensor | float | str, "zero"),
    "baseline": _Conversion(_fill, Tensor | float | str, "zero"),
    "generator": _Conversion(_generator, torch.Generator | None),
    "segments": _Conversion(_segments, Segmentation | Tensor, "slic"),
}


def converted(body: Callable[..., Any], request: Request) -> dict[str, Any]:
    """Returns {keyword: value} converted for the body. A `fill` that may be None stays None: the body hides pixels itself."""
    result: dict[str, Any] = {}
    for name, default in keyword_defaults(body).items():
        value = request.given[name]
        as_it_is = name not in CONVERTED or (name == "fill" and default is None and value is None)
        result[name] = value if as_it_is else CONVERTED[name].convert(request, value)
    return result


@functools.cache
def keyword_defaults(body: Callable[..., Any]) -> dict[str, Any]:
    """Returns {keyword: default} of a body."""
    return {p.name: p.default for p in inspect.signature(body).parameters.values() if p.kind is p.KEYWORD_ONLY}


def public_signature(body: Callable[..., Any]) -> inspect.Signature:
    """Returns the signature that users see: (model, images, target=None, *, the body's keywords).

    A body with `generator` also gets `seed`, one with `layer` also `fuse` (to join several layers), and a method that
    libraries define in different ways gets `like`.
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
    """Returns the public parameters for one keyword of the body: `generator` adds `seed`, `layer` adds `fuse`."""
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
