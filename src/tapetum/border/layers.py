"""Finds the layer that a method works at: named by the user or chosen, and always one whose output the score depends on.

`named_layer` is for methods that only observe a layer, `layer_of` for those that change or differentiate its output: if the
score does not depend on that output, the map would be zeros or rounding errors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.engines.feeding import any_answer, passed_by, read_of
from tapetum.engines.probe import activations, capture
from tapetum.engines.scores import ModelScore
from tapetum.engines.scores.inside import one_layer
from tapetum.models.choice import candidates, choose_layer
from tapetum.models.layers import to_map
from tapetum.models.sites import shortened
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import LayerError

POSITIVE = "positive_layer"
"""Law (property) of methods that treat a channel's activation as evidence: at a layer with negative values, a channel that
raises the score by being negative would count against its own place."""

TARGET_FREE = "target_free"
"""Law (property) of methods whose map of a layer does not depend on the target."""

POOLED = "pooled_layer"
"""Law (property) of methods that need the map that the classification head pools."""

TRIED = 16
"""Largest number of layers that are tried if none is named; each costs a pass of one image."""


# --- by name


def named_layers(layer: str | Sequence[str]) -> list[str]:
    """Splits a layer argument into names or globs, of which a text may hold several with commas between."""
    several = isinstance(layer, (list, tuple, set, frozenset))
    names = [part.strip() for part in layer.split(",")] if isinstance(layer, str) else list(layer) if several else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise LayerError(f"layer is a name or several, not {layer!r}")
    return list(dict.fromkeys(names))


def all_layers(model: VisionModel, layers: str | Sequence[str]) -> list[str]:
    """Returns the full names of all layers that match names or globs; a text may hold several, separated by commas."""
    return model.find_layers(named_layers(layers))


def layers_with_maps(model: VisionModel, layers: str | Sequence[str]) -> list[str]:
    """Returns the full names of all matching layers, like `all_layers`; refuses layers without a map (n, c, h, w)."""
    names = all_layers(model, layers)
    for name in names:
        if model.survey[name].grid is None:
            raise LayerError(f"{name} of {model.name} gives no map (n, c, h, w): name a layer that has one")
    return names


def by_name(model: VisionModel, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a method's keywords with each module of the network replaced by its layer name."""
    named = dict(given)
    for name, value in given.items():
        if isinstance(value, nn.Module):
            named[name] = model.name_of(value)
        elif isinstance(value, (list, tuple)) and any(isinstance(one, nn.Module) for one in value):
            named[name] = [model.name_of(one) if isinstance(one, nn.Module) else one for one in value]
    return named


def named_layer(model: VisionModel, layer: str) -> str:
    """Returns the one layer that a name or glob matches; refuses several matches, and a layer without a map (n, c, h, w)."""
    name = one_layer(model, layer, ", or a list to fuse")
    if model.survey[name].grid is None:
        others = [one for one in model.survey.others(name) if model.survey[one].grid is not None]
        hint = f"; of its outputs {shortened(others)} are maps" if others else ""
        raise LayerError(f"{name} of {model.name} gives no map (n, c, h, w) to look at{hint}")
    return name


def layer_of(score: ModelScore, images: Tensor, layer: str | None, laws: Collection[str] = ()) -> str:
    """Returns the named layer, or chooses one for a method with the given laws (its properties) and notes the reason."""
    score = any_answer(score) if TARGET_FREE in laws else score
    if layer is not None:
        return _checked_layer(score, images, layer, laws)
    part, size = score.part, tuple(images.shape[-2:])
    fact = f"usual layer of {part} at {size}"
    usual = None if part is None or POOLED in laws or POSITIVE in laws else score.model.remember(fact)
    name, notes = usual or _chosen(score, images, laws, fact if part else None)
    for sentence in notes:
        note(sentence)
    return name


def _chosen(score: ModelScore, images: Tensor, laws: Collection[str], fact: str | None) -> tuple[str, tuple[str, ...]]:
    """Returns the automatically chosen layer and notes about it; caches both under `fact` if it is the first candidate."""
    model, found = score.model, automatic_layer(score, images, laws)
    name, reason = found
    notes = [f"layer {name} was chosen: {reason}", *model.runs_of(name)]
    if not model.survey.map_of(name).prefix and passed_by(score, images, name):  # with a class token this is always so
        notes.append(f"the answer also reads the image on ways past {name} (a skip, another branch), which this map leaves out")
    if fact is not None and found == model.remember("layers to choose from", lambda: _to_choose_from(model))[0]:
        model.remember(fact, lambda: (name, tuple(notes)))
    return name, tuple(notes)


def _checked_layer(score: ModelScore, images: Tensor, layer: str, laws: Collection[str]) -> str:
    """Returns the layer that `_fed_layer` finds; adds a note where its negative activations mislead the method."""
    name = _fed_layer(score, images, layer)
    if POSITIVE in laws and activations(score.model, images, name).min() < 0:
        note(f"layer {name} has negative activations: channels that help by being negative count against their own place")
    return name


def _fed_layer(score: ModelScore, images: Tensor, layer: str) -> str:
    """Returns the layer, or a submodule with the same map, if the score depends on its map; refuses if there is none."""
    name = named_layer(score.model, layer)
    read = read_of(score, images, name)
    if read == "map":
        return name
    inside = _same_inside(score, images, name)
    if inside is None:
        raise LayerError(_why_not(score, images, name, read))
    note(f"the answer does not read what {name} returns: {inside}, which gives the same values, was taken")
    return inside


def refuse_unread(score: ModelScore, images: Tensor, layers: Iterable[str]) -> None:
    """Refuses layers whose output does not affect the score, neither through the map nor through class or register tokens."""
    for name in layers:
        if (read := read_of(score, images, name)) == "nothing":
            raise LayerError(_why_not(score, images, name, read))


def _why_not(score: ModelScore, images: Tensor, name: str, read: str) -> str:
    model = score.model
    works = ", ".join(_that_work(score, images, name))
    if read == "tokens":
        reads = f"behind {name} the answer of {model.name} reads class or register tokens alone, no place of the map"
    else:
        reads = f"the answer of {model.name} does not read what {name} returns: a change there changes nothing"
    return f"{reads}; {f'layers that work: {works}' if works else 'use a method that needs no layer'}"


def _that_work(score: ModelScore, images: Tensor, name: str) -> list[str]:
    """Lists layers to suggest in place of `name`: the automatic choice, and its other outputs and submodules that work."""
    inner = [one for one in reversed(score.model.survey.order) if one.startswith(f"{name}.")]
    found = [one for one in inner if score.model.survey[one].grid is not None][:4]
    works = [one for one in found if read_of(score, images, one) == "map"][:2]
    chosen = next(_fed(score, images), None)
    return list(dict.fromkeys([*([chosen[0]] if chosen else []), *_other_maps(score, images, name), *works]))


# --- chosen


def automatic_layer(score: ModelScore, images: Tensor, laws: Collection[str]) -> tuple[str, str]:
    """Chooses a layer for a method with the given laws (its properties); returns the layer's name and the reason in words."""
    found = next(_fed(score, images), None)
    if found is None:
        first, _ = choose_layer(score.model.survey)
        raise LayerError(
            f"the answer of {score.model.name} reads no map that was tried, from {first} on to earlier layers: name a layer, "
            "or use a method that needs no layer"
        )
    if POOLED in laws:
        return _last_map(score, images, *found)
    return first_positive(score, images, *found) if POSITIVE in laws else found


def _fed(score: ModelScore, images: Tensor) -> Iterator[tuple[str, str]]:
    """Yields (layer, reason): candidates on whose map the score depends, or submodules with the same map on which it does."""
    unread: list[str] = []
    for name, reason in score.model.remember("layers to choose from", lambda: _to_choose_from(score.model)):
        inside = name if read_of(score, images, name) == "map" else _same_inside(score, images, name)
        if inside is None:
            unread.append(name)
            for one in _other_maps(score, images, name):
                yield one, f"the map among what {name} returns that the answer reads"
        elif inside != name:
            yield inside, f"{reason}; the answer does not read what {name} returns, but this layer inside with the same values"
        else:
            yield name, f"{reason}; the answer does not read what {', '.join(unread)} returns" if unread else reason


def _to_choose_from(model: VisionModel) -> list[tuple[str, str]]:
    choose_layer(model.survey)  # refuses a network without maps
    return list(islice(candidates(model.survey), TRIED))


def _other_maps(score: ModelScore, images: Tensor, name: str) -> list[str]:
    """Lists the further outputs of a layer that are maps and on which the score depends."""
    survey = score.model.survey
    mapped = [one for one in survey.others(name) if prod(survey[one].grid or ()) > 1]
    return [one for one in mapped if read_of(score, images, one) == "map"]


def _same_inside(score: ModelScore, images: Tensor, name: str) -> str | None:
    """Returns the last submodule of `name` with the same map on which the score depends; None if there is none."""
    model, survey = score.model, score.model.survey
    inner = [one for one in survey.order if one.startswith(f"{name}.") and survey[one].grid == survey[name].grid]
    with torch.no_grad(), capture(model, [*inner, name], raw=True) as acts, model.at_rows(score.take([0]).rows):
        model(images[:1])
    wanted = to_map(survey.map_of(name), acts[name], model.passes.image_size)
    same = (one for one in reversed(inner) if _gives(model, one, acts[one], wanted))
    return next((one for one in same if read_of(score, images, one) == "map"), None)


def _gives(model: VisionModel, layer: str, output: Tensor, wanted: Tensor) -> bool:
    """Returns whether a layer's output, converted to (n, c, h, w), equals the wanted map."""
    try:
        found = to_map(model.survey.map_of(layer), output, model.passes.image_size)
    except LayerError:  # the output is windows of a map, not a whole map
        return False
    return found.shape == wanted.shape and torch.equal(found, wanted)


def first_positive(score: ModelScore, images: Tensor, name: str, reason: str) -> tuple[str, str]:
    """Returns (layer, reason) of a layer that is never negative.

    It is the first from `name` on with the same grid and an effect on the score; if there is none, `name` itself.
    """
    positive = next((one for one in positive_layers(score.model, name) if read_of(score, images, one) == "map"), None)
    if positive == name:
        return name, reason
    if positive is None:
        return name, f"{reason}; its negative activations make the weights of some channels point the wrong way"
    return positive, f"the first layer from {name} on, of the same grid, without negative activations"


def positive_layers(model: VisionModel, name: str) -> tuple[str, ...]:
    """Returns layers from `name` on with the same grid and no negative values; measured once per model, on noise images."""
    return model.remember(f"positive layers from {name}", lambda: _positive_layers(model, name))


def _positive_layers(model: VisionModel, name: str) -> tuple[str, ...]:
    acts = _maps_from(model, name, again=False)  # each layer runs once, so that ablating it is simple
    positive = [one for one in acts if acts[one].min() >= 0]
    return tuple(dict.fromkeys(other for one in positive for other in (_outermost(acts, one), one)))


def _last_map(score: ModelScore, images: Tensor, name: str, reason: str) -> tuple[str, str]:
    """Returns (layer, reason): the last layer with the grid of `name`, whose map the head reads."""
    lasts = score.model.remember(f"last maps from {name}", lambda: _last_maps(score.model, name))
    last = next((one for one in lasts if read_of(score, images, one) == "map"), name)
    return (name, reason) if last == name else (last, f"the last layer with the grid of {name}, which is what the head reads")


def _last_maps(model: VisionModel, name: str) -> tuple[str, ...]:
    """Lists layers from the last back to `name`; before each, the outermost and the first layer with the same map."""
    acts, found = _maps_from(model, name, again=True), dict[str, None]()
    for last in reversed(acts):
        first = next(one for one in acts if acts[one].shape == acts[last].shape and torch.equal(acts[one], acts[last]))
        found |= dict.fromkeys((_outermost(acts, first), first, last))
    return tuple(found)


def _maps_from(model: VisionModel, name: str, *, again: bool) -> dict[str, Tensor]:
    """Returns {layer: map on noise images} of the layers from `name` on with the same grid, in the order in which they finish.

    `again`: include layers that run more than once, with the map of their last run.
    """
    order, survey = model.survey.order, model.survey
    behind = [one for one in order[survey.position(name) :] if again or survey[one].calls == 1]
    same = [one for one in behind if survey[one].grid == survey[name].grid]
    with capture(model, same) as acts:
        model(model.noise(1 if model.one_by_one else 4))
    return {one: acts[one] for one in same}


def _outermost(acts: Mapping[str, Tensor], name: str) -> str:
    """Returns the outermost module around `name` that returns the same map, for its shorter name; `name` if there is none."""
    around = (one for one in list(acts)[::-1] if name.startswith(f"{one}.") and torch.equal(acts[one], acts[name]))
    return next(around, name)
