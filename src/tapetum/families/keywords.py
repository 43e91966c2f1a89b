"""Keywords with a meaning of their own: converted by name, so a body gets a layer that exists, a fill that is a tensor,
segments that are labels, and a generator that is seeded; and those that every method of a kind has without asking
(`seed`, `fuse`, `like`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from tapetum.engines.perturb import as_fill, segment
from tapetum.engines.perturb.superpixels import given
from tapetum.engines.probe import activations, capture
from tapetum.families.fusion import Fuse
from tapetum.models.choice import choose_layer
from tapetum.models.vision_model import VisionModel
from tapetum.types import Attribution, ImagesLike, LayerError, ModelLike, TargetLike

POSITIVE = "positive_layer"
"""The law of methods that take a channel's activation for evidence: at a layer with negative values a channel that helps
by being negative would count against its own place."""

POOLED = "pooled_layer"
"""The law of methods that want the map that the head pools."""

BEST = "best"
"""`layer="best"`: several are tried, and the map that stands up best is kept."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call, converted: what a keyword converter may look at."""

    model: VisionModel
    images: Tensor
    given: Mapping[str, Any]
    laws: frozenset[str]


def _layer(call: Call, layer: str | None) -> tuple[str, str | None]:
    if layer is not None:
        name = named_layer(call.model, layer)
        return name, _negative_note(call, name) if POSITIVE in call.laws else None
    name, reason = automatic_layer(call.model, call.laws)
    return name, f"layer {name} was chosen: {reason}"


def automatic_layer(model: VisionModel, laws: Collection[str]) -> tuple[str, str]:
    """The layer for a method of these laws when nobody names one, and why."""
    name, reason = choose_layer(model.survey)
    if POOLED in laws:
        return last_map(model, name, reason)
    return first_positive(model, name, reason) if POSITIVE in laws else (name, reason)


def named_layer(model: VisionModel, layer: str) -> str:
    """The one layer with a map that a name or glob means."""
    names = model.find_layers(layer)
    if len(names) != 1:
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise LayerError(f"'{layer}' means {len(names)} layers of {model.name} ({shown}); give one, or a list to fuse")
    if model.survey[names[0]].grid is None:
        raise LayerError(f"{names[0]} of {model.name} gives no map (n, c, h, w) to look at")
    return names[0]


def named_layers(layer: str | Sequence[str] | None) -> list[str | None]:
    """The layers that were asked for, one by one; text may hold several with commas between."""
    if layer is None:
        return [None]
    names = [part.strip() for part in layer.split(",")] if isinstance(layer, str) else list(layer)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise LayerError(f"layer is a name or several, not {layer!r}")
    return list(dict.fromkeys(names))


def first_positive(model: VisionModel, name: str, reason: str) -> tuple[str, str]:
    """The first layer from `name` on, of the same grid, that is never negative: found out once, on noise, for any images."""
    positive = model.remember(f"positive layer from {name}", lambda: _first_positive(model, name))
    if positive == name:
        return name, reason
    if positive is None:
        return name, f"{reason}; its negative activations make the weights of some channels point the wrong way"
    return positive, f"the first layer from {name} on, of the same grid, without negative activations"


def _first_positive(model: VisionModel, name: str) -> str | None:
    acts = _maps_from(model, name, again=False)  # an ablated channel would have to be ablated at every run
    positive = next((one for one in acts if acts[one].min() >= 0), None)
    return positive and _outermost(acts, positive)


def last_map(model: VisionModel, name: str, reason: str) -> tuple[str, str]:
    """The last layer with the grid of `name` (the first of several that give the same map): what the head reads."""
    last = model.remember(f"last map from {name}", lambda: _last_map(model, name))
    return (name, reason) if last == name else (last, f"the last layer with the grid of {name}, which is what the head reads")


def _last_map(model: VisionModel, name: str) -> str:
    acts = _maps_from(model, name, again=True)
    last = acts[list(acts)[-1]]
    return _outermost(acts, next(one for one in acts if acts[one].shape == last.shape and torch.equal(acts[one], last)))


def _maps_from(model: VisionModel, name: str, *, again: bool) -> dict[str, Tensor]:
    """What the layers from `name` on with the same grid give on noise, in the order in which they end.

    `again`: also those that run more than once, by their last run.
    """
    order, survey = model.survey.order, model.survey
    behind = [one for one in order[order.index(name) :] if again or survey[one].calls == 1]
    same = [one for one in behind if survey[one].grid == survey[name].grid]
    with capture(model, same) as acts:
        model(model.noise(4))
    return {one: acts[one] for one in same}


def _outermost(acts: Mapping[str, Tensor], name: str) -> str:
    """The enclosing module that returns the same map has the better name."""
    around = (one for one in list(acts)[::-1] if name.startswith(f"{one}.") and torch.equal(acts[one], acts[name]))
    return next(around, name)


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


CONVERTED: dict[str, Callable[[Call, Any], tuple[Any, str | None]]] = {
    "layer": _layer,
    "fill": _fill,
    "baseline": _fill,
    "generator": _generator,
    "segments": _segments,
}


def converted(body: Callable[..., Any], call: Call) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body's keywords as it takes them, and what a reader must know of the choices that were made.

    A method whose `fill` is None by default has a way of hiding of its own.
    """
    wanted = [p for p in inspect.signature(body).parameters.values() if p.kind is p.KEYWORD_ONLY]
    own = {p.name for p in wanted if p.name == "fill" and p.default is None and call.given["fill"] is None}
    results = {
        p.name: (_as_given if p.name in own else CONVERTED.get(p.name, _as_given))(call, call.given[p.name]) for p in wanted
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
        keywords.append(_keyword("like", None, choices | None, LIKE))
    return inspect.Signature(head + keywords, return_annotation=Attribution)


LIKE = "the defaults and the output of a library, or of the paper; None: ours."
FUSE = "how the maps of several layers become one, each divided by its largest magnitude: mean or max."


def _public(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    if parameter.name == "generator":
        return [_keyword("seed", 0, int), parameter.replace(default=None, annotation=torch.Generator | None)]
    if parameter.name == "layer":
        return [parameter.replace(annotation=str | Sequence[str] | None), _keyword("fuse", "mean", Fuse, FUSE)]
    return [parameter]


def _keyword(name: str, default: Any, annotation: Any, help_: str = "") -> inspect.Parameter:
    hint = Annotated[annotation, help_] if help_ else annotation
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
