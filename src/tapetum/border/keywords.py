"""Keywords with a meaning of their own: converted by name, so a body gets a layer that exists, a fill that is a tensor,
segments that are labels, and a generator that is seeded; and those that every method of a kind has without asking
(`seed`, `fuse`, `like`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from tapetum.border.fusion import Fuse
from tapetum.border.layers import POSITIVE, layer_of
from tapetum.border.sentences import Generator, Seed
from tapetum.engines.perturb import Segmentation, as_fill, segment
from tapetum.engines.perturb.superpixels import given
from tapetum.engines.probe import activations
from tapetum.engines.scores import ModelScore
from tapetum.models.vision_model import VisionModel
from tapetum.types import Attribution, ImagesLike, ModelLike, TargetLike

BEST = "best"
"""`layer="best"`: several are tried, and the map that stands up best is kept."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call, converted: what a keyword converter may look at."""

    score: ModelScore
    images: Tensor
    given: Mapping[str, Any]
    laws: frozenset[str]

    @property
    def model(self) -> VisionModel:
        return self.score.model


def _layer(call: Call, layer: str | None) -> tuple[str, str | None]:
    name = layer_of(call.score, call.images, layer, call.laws)
    return name, _negative_note(call, name) if layer is not None and POSITIVE in call.laws else None


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


def _as_given(_call: Call, value: Any) -> tuple[Any, None]:
    return value, None


@dataclass(frozen=True)
class _Conversion:
    """How a keyword becomes what bodies take, what users may give for it, and its default where the body names none."""

    convert: Callable[[Call, Any], tuple[Any, str | None]]
    given: Any
    default: str | None = None


CONVERTED = {
    "layer": _Conversion(_layer, str | Sequence[str] | None),
    "fill": _Conversion(_fill, Tensor | float | str, "zero"),
    "baseline": _Conversion(_fill, Tensor | float | str, "zero"),
    "generator": _Conversion(_generator, torch.Generator | None),
    "segments": _Conversion(_segments, Segmentation | Tensor, "slic"),
}


def converted(body: Callable[..., Any], call: Call) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body's keywords as it takes them, and what a reader must know of the choices that were made.

    A method whose `fill` is None by default has a way of hiding of its own.
    """
    wanted = [p for p in inspect.signature(body).parameters.values() if p.kind is p.KEYWORD_ONLY]
    own = {p.name for p in wanted if p.name == "fill" and p.default is None and call.given["fill"] is None}
    results = {
        p.name: (CONVERTED[p.name].convert if p.name in CONVERTED.keys() - own else _as_given)(call, call.given[p.name])
        for p in wanted
    }
    notes = tuple(note for _, note in results.values() if note)
    return {name: value for name, (value, _) in results.items()}, notes


def public_signature(body: Callable[..., Any], profiles: Sequence[str]) -> inspect.Signature:
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
    if profiles:
        choices: Any = Literal[tuple(profiles)]
        keywords.append(_keyword("like", None, Annotated[choices | None, LIKE]))
    return inspect.Signature(head + keywords, return_annotation=Attribution)


LIKE = "the defaults and the output of a library, or of the paper; None: ours."
FUSE = "how the maps of several layers become one, each divided by its largest magnitude: mean or max."


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
    return [public, _keyword("fuse", "mean", Annotated[Fuse, FUSE])] if parameter.name == "layer" else [public]


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
