"""The layer a method works at: by name, or chosen by what one pass showed, and always one that the score reads.

`named_layer` is for methods that look at a layer, `layer_of` for those that change it or differentiate there: a layer whose
output nobody reads would give a map of zeros or of rounding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.engines.feeding import any_answer, part_of, passed_by, read_of
from tapetum.engines.probe import capture
from tapetum.engines.scores import ModelScore
from tapetum.models.choice import candidates, choose_layer
from tapetum.models.layers import to_map
from tapetum.models.sites import shortened
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import LayerError

POSITIVE = "positive_layer"
"""The law of methods that take a channel's activation for evidence: at a layer with negative values a channel that helps
by being negative would count against its own place."""

TARGET_FREE = "target_free"
"""The law of methods that show what the layer found, whatever the target is."""

POOLED = "pooled_layer"
"""The law of methods that want the map that the head pools."""

TRIED = 16
"""Most layers that are tried if none is named; each costs a pass of one image."""


# --- by name


def named_layers(layer: str | Sequence[str] | None) -> list[str | None]:
    """The requested layers one by one; text may hold several with commas between."""
    if layer is None:
        return [None]
    several = isinstance(layer, (list, tuple, set, frozenset))
    names = [part.strip() for part in layer.split(",")] if isinstance(layer, str) else list(layer) if several else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise LayerError(f"layer is a name or several, not {layer!r}")
    return list(dict.fromkeys(names))


def all_layers(model: VisionModel, layers: str | Sequence[str]) -> list[str]:
    """The full names of all layers that names or globs mean; text may hold several with commas between."""
    return model.find_layers([name for name in named_layers(layers) if name])


def layers_with_maps(model: VisionModel, layers: str | Sequence[str]) -> list[str]:
    """As `all_layers`; a layer without a map is refused."""
    names = all_layers(model, layers)
    for name in names:
        if model.survey[name].grid is None:
            raise LayerError(f"{name} of {model.name} gives no map (n, c, h, w): name a layer that has one")
    return names


def by_name(model: VisionModel, given: Mapping[str, Any]) -> dict[str, Any]:
    """A method's keywords with names in place of modules of the network."""
    named = dict(given)
    for name, value in given.items():
        if isinstance(value, nn.Module):
            named[name] = model.name_of(value)
        elif isinstance(value, (list, tuple)) and any(isinstance(one, nn.Module) for one in value):
            named[name] = [model.name_of(one) if isinstance(one, nn.Module) else one for one in value]
    return named


def named_layer(model: VisionModel, layer: str) -> str:
    """The one layer with a map that a name or glob means."""
    names = model.find_layers(layer)
    if len(names) != 1:
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise LayerError(f"'{layer}' means {len(names)} layers of {model.name} ({shown}); give one, or a list to fuse")
    if model.survey[names[0]].grid is None:
        others = [one for one in model.survey.others(names[0]) if model.survey[one].grid is not None]
        hint = f"; of its outputs {shortened(others)} are maps" if others else ""
        raise LayerError(f"{names[0]} of {model.name} gives no map (n, c, h, w) to look at{hint}")
    return names[0]


def layer_of(score: ModelScore, images: Tensor, layer: str | None, laws: Collection[str] = ()) -> str:
    """The layer with a map that a name or glob means, or that is chosen for a method of these laws; and notes the choice."""
    score = any_answer(score) if TARGET_FREE in laws else score
    if layer is not None:
        return _fed_layer(score, images, layer)
    part, size = part_of(score, images), tuple(images.shape[-2:])
    fact = f"usual layer of {part} at {size}"
    usual = None if part is None or POOLED in laws or POSITIVE in laws else score.model.recall(fact)
    name, notes = usual or _chosen(score, images, laws, fact if part else None)
    for sentence in notes:
        note(sentence)
    return name


def _chosen(score: ModelScore, images: Tensor, laws: Collection[str], fact: str | None) -> tuple[str, tuple[str, ...]]:
    """The layer that is chosen, and notes on it: remembered where it is the first candidate, which any image's score reads."""
    model, found = score.model, automatic_layer(score, images, laws)
    name, reason = found
    notes = [f"layer {name} was chosen: {reason}", *model.runs_of(name)]
    if not model.survey.map_of(name).prefix and passed_by(score, images, name):  # a class token always passes by
        notes.append(f"the answer also reads the image on ways past {name} (a skip, another branch), which this map leaves out")
    if fact is not None and found == model.remember("layers to choose from", lambda: _to_choose_from(model))[0]:
        model.remember(fact, lambda: (name, tuple(notes)))
    return name, tuple(notes)


def _fed_layer(score: ModelScore, images: Tensor, layer: str) -> str:
    """The layer if the answer reads it, else a module inside that gives the same values and is read; refuses others."""
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
    """Refuses layers of which the score reads neither the map nor the tokens before it."""
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
    """A few layers that would work: the automatic choice, and the last ones inside the named layer that are read."""
    inner = [one for one in reversed(score.model.survey.order) if one.startswith(f"{name}.")]
    found = [one for one in inner if score.model.survey[one].grid is not None][:4]
    works = [one for one in found if read_of(score, images, one) == "map"][:2]
    chosen = next(_fed(score, images), None)
    return list(dict.fromkeys([*([chosen[0]] if chosen else []), *_other_maps(score, images, name), *works]))


# --- chosen


def automatic_layer(score: ModelScore, images: Tensor, laws: Collection[str]) -> tuple[str, str]:
    """The layer for a method of these laws if none is named, and the reason."""
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
    """Yields the candidates that the score reads, or modules inside them with the same values."""
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
    """Other outputs of the layer that are maps and are read."""
    survey = score.model.survey
    mapped = [one for one in survey.others(name) if prod(survey[one].grid or ()) > 1]
    return [one for one in mapped if read_of(score, images, one) == "map"]


def _same_inside(score: ModelScore, images: Tensor, name: str) -> str | None:
    """The last module inside that gives the map of `name` and is read."""
    model, survey = score.model, score.model.survey
    inner = [one for one in survey.order if one.startswith(f"{name}.") and survey[one].grid == survey[name].grid]
    with torch.no_grad(), capture(model, [*inner, name], raw=True) as acts, model.at_rows(score.take([0]).rows):
        model(images[:1])
    wanted = to_map(survey.map_of(name), acts[name], model.passes.image_size)
    same = (one for one in reversed(inner) if _gives(model, one, acts[one], wanted))
    return next((one for one in same if read_of(score, images, one) == "map"), None)


def _gives(model: VisionModel, layer: str, output: Tensor, wanted: Tensor) -> bool:
    """Whether a layer's output is this map, in whichever layout."""
    try:
        found = to_map(model.survey.map_of(layer), output, model.passes.image_size)
    except LayerError:  # windows of a map, one by one
        return False
    return found.shape == wanted.shape and torch.equal(found, wanted)


def first_positive(score: ModelScore, images: Tensor, name: str, reason: str) -> tuple[str, str]:
    """The first layer from `name` on, of the same grid, that is never negative, and that the score reads."""
    positive = next((one for one in positive_layers(score.model, name) if read_of(score, images, one) == "map"), None)
    if positive == name:
        return name, reason
    if positive is None:
        return name, f"{reason}; its negative activations make the weights of some channels point the wrong way"
    return positive, f"the first layer from {name} on, of the same grid, without negative activations"


def positive_layers(model: VisionModel, name: str) -> tuple[str, ...]:
    """Layers from `name` on, of the same grid, that are never negative: determined once, on noise, for any images."""
    return model.remember(f"positive layers from {name}", lambda: _positive_layers(model, name))


def _positive_layers(model: VisionModel, name: str) -> tuple[str, ...]:
    acts = _maps_from(model, name, again=False)  # an ablated channel would have to be ablated at every run
    positive = [one for one in acts if acts[one].min() >= 0]
    return tuple(dict.fromkeys(other for one in positive for other in (_outermost(acts, one), one)))


def _last_map(score: ModelScore, images: Tensor, name: str, reason: str) -> tuple[str, str]:
    """The last layer with the grid of `name` (the first of several that give the same map): what the head reads."""
    lasts = score.model.remember(f"last maps from {name}", lambda: _last_maps(score.model, name))
    last = next((one for one in lasts if read_of(score, images, one) == "map"), name)
    return (name, reason) if last == name else (last, f"the last layer with the grid of {name}, which is what the head reads")


def _last_maps(model: VisionModel, name: str) -> tuple[str, ...]:
    """Layers from the last back to `name`, each after the outermost and the first that give the same map."""
    acts, found = _maps_from(model, name, again=True), dict[str, None]()
    for last in reversed(acts):
        first = next(one for one in acts if acts[one].shape == acts[last].shape and torch.equal(acts[one], acts[last]))
        found |= dict.fromkeys((_outermost(acts, first), first, last))
    return tuple(found)


def _maps_from(model: VisionModel, name: str, *, again: bool) -> dict[str, Tensor]:
    """Maps, on noise, of the layers from `name` on with the same grid, in the order in which they end.

    `again`: also those that run more than once, by their last run.
    """
    order, survey = model.survey.order, model.survey
    behind = [one for one in order[survey.position(name) :] if again or survey[one].calls == 1]
    same = [one for one in behind if survey[one].grid == survey[name].grid]
    with capture(model, same) as acts:
        model(model.noise(1 if model.one_by_one else 4))
    return {one: acts[one] for one in same}


def _outermost(acts: Mapping[str, Tensor], name: str) -> str:
    """The enclosing module that returns the same map has the better name."""
    around = (one for one in list(acts)[::-1] if name.startswith(f"{one}.") and torch.equal(acts[one], acts[name]))
    return next(around, name)
