"""Reads objectives from what users write: units, ranges of units, classes, targets, and objectives themselves.

as_objective(model, "blocks.3.0:5")       # a channel; "blocks.3.0:5@7,7" one position of it; 281 or "tabby" a class
as_objectives(model, "blocks.3.0:0-15")   # sixteen channels; also "blocks.3.0:3,5,7", "blocks.3.0:*", or a list
as_objective(model, "blocks.3.0:5 - 0.5 * tabby")   # one picture of several
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from tapetum.data.labels import find_label, names_a_label
from tapetum.engines.render.objectives.answers import checked_answer, target
from tapetum.engines.render.objectives.base import OUTPUT, Objective, PreActivation, layer_of_need
from tapetum.engines.render.objectives.common import call_text
from tapetum.engines.render.objectives.directions import concept
from tapetum.engines.render.objectives.mixing import Term, terms
from tapetum.engines.render.objectives.units import unit
from tapetum.engines.scores import class_name
from tapetum.engines.scores.inside import checked_concept, checked_unit, one_layer
from tapetum.models.vision_model import VisionModel
from tapetum.types import Concept, Contrast, LayerError, MethodError, Scaled, TargetError, Unit

RANGE = r"\d+(?:\s*-\s*\d+)?"
UNITS = re.compile(
    rf"(?P<layer>[^:@]+):\s*(?P<channels>\*|{RANGE}(?:\s*,\s*{RANGE})*)\s*(?:@\s*(?P<row>\d+)\s*,\s*(?P<column>\d+))?"
)

FORMS = 'units as "layer:5", "layer:5@row,column", "layer:0-15", "layer:3,5,7" or "layer:*"'
"""Forms of texts that mean units, for help and error messages."""


def as_objective(model: VisionModel, thing: Any) -> Objective:
    """Returns the objective of a unit (`Unit` or text), a concept, a class (index or label) or another target, or a
    given objective itself.
    """
    found = as_objectives(model, thing)
    if isinstance(thing, (list, tuple, range)) or len(found) != 1:
        raise TargetError(f"{thing!r} means {len(found)} objectives, where one is asked for")
    return found[0]


def as_objectives(model: VisionModel, things: Any) -> list[Objective]:
    """Returns the objectives of one thing or a list of things; checks that the model has their layers and channels.

    A text may mean several: "layer:0-15" means sixteen, in order.
    """
    with model.pinned():
        many = _listed(things)
        found = [one for thing in many for one in _read(model, thing)]
    if not found:
        raise TargetError(f"nothing to make a picture of was given: give a class or {FORMS}")
    return found


def _listed(things: Any) -> list[Any]:
    """Returns the items of a list, range, tensor or array, or a list of one thing."""
    things = things.tolist() if isinstance(things, (Tensor, np.ndarray)) else things
    return list(things) if isinstance(things, (list, tuple, range)) else [things]


def _read(model: VisionModel, thing: Any) -> list[Objective]:
    if isinstance(thing, (list, tuple)):
        raise TargetError("a list of lists is no list of objectives: add up what one picture should show, a + b")
    if isinstance(thing, Objective):
        check_needs(model, thing)
        return [thing]
    if isinstance(thing, Unit):
        return [unit(check_unit(model, thing))]
    if isinstance(thing, Concept):
        return [concept(checked_concept(model, thing, placed=False))]
    if isinstance(thing, str):
        mix = mixed_in(model, thing)
        if mix:
            return [_mixed(model, thing, mix)]
        units = _units(model, thing)
        if units:
            return [unit(one) for one in units]
    return [_answer(model, thing)]


def mixed_in(model: VisionModel, text: str) -> list[Term]:
    """Returns the terms of a text that mixes objectives, "layer:5 + layer:9" or "0.5 * tabby - lynx"; [] if it does not.

    Names of classes and of layers keep their meaning, whatever they contain.
    """
    alone = UNITS.fullmatch(text.strip())
    if alone is not None and (alone["layer"].strip() in _layer_names(model) or not MIXING.search(alone["layer"])):
        return []
    found = terms(text, partial(names_a_label, model.labels or ()))
    special = any(term.factor is not None or UNITS.fullmatch(term.text) for term in found)
    signs = "".join(term.sign for term in found)
    if not special and (signs in ("+", "+-") or model.encode_text is not None):
        return []  # one class, a contrast of two, or words that a network compares with pictures
    return [] if signs == "+" and found[0].factor is None else found


MIXING = re.compile(r"\s[+-]\s|\*\s|^\s*[+-]")


def _mixed(model: VisionModel, text: str, mix: Sequence[Term]) -> Objective:
    for before, term in itertools.pairwise(mix):
        if term.factor is None and term.text.isdecimal() and UNITS.fullmatch(before.text):
            layer, n = before.text.partition(":")[0], term.text
            raise TargetError(
                f"'{before.text} {term.sign} {n}' could mean class {n} or channel {n}: write the class first, or '{layer}:{n}'"
            )
    first, *others = [_weighted(model, text, term) for term in mix]
    whole = -first if mix[0].sign == "-" else first
    for term, one in zip(mix[1:], others, strict=True):
        whole = whole - one if term.sign == "-" else whole + one
    return whole


def _weighted(model: VisionModel, mix: str, term: Term) -> Objective:
    """Returns the objective of one term with its factor, without its sign; refuses a term that means several."""
    label = names_a_label(model.labels or (), term.text) and MIXING.search(term.text)
    number = find_label(model.labels or (), term.text) if label else int(term.text) if term.text.isdecimal() else None
    found = _read(model, term.text if number is None else number)
    if len(found) != 1:
        raise TargetError(f"'{term.text}' means {len(found)} units, where '{mix}' mixes single ones: write one a term")
    return found[0] if term.factor is None else term.factor * found[0]


def _answer(model: VisionModel, thing: Any) -> Objective:
    found = checked_answer(model, thing)
    if isinstance(found, int):
        return target(found, name=call_text("class_logit", class_name(model, found)))
    if isinstance(found, (Contrast, Scaled)):
        return target(found, name=call_text("target", class_name(model, found)))
    return target(found)


def units_in(model: VisionModel, text: str) -> list[Unit]:
    """Returns the units that a text such as "layer:0-15" means, or an empty list if it means something else; layers may be
    globs.
    """
    return [] if mixed_in(model, text) else _units(model, text)


def _units(model: VisionModel, text: str) -> list[Unit]:
    """Returns the units that a text means if it is no mix."""
    words = text.strip()
    if text in (model.labels or ()):
        return []
    match = UNITS.fullmatch(words)
    if match is None:
        _check_no_layer(model, words)
        return []
    place = None if match["row"] is None else (int(match["row"]), int(match["column"]))
    found = []
    for layer in model.find_layers(match["layer"].strip()):
        channels = _channels(match["channels"], n_channels(model, layer))
        check_unit(model, Unit(layer, max(channels)))
        found += [Unit(layer, channel, place) for channel in channels]
    return found


def _check_no_layer(model: VisionModel, text: str) -> None:
    """Refuses a text that names a layer without a channel, or that misspells a unit."""
    layer, colon, _ = text.partition(":")
    if layer not in _layer_names(model):
        return
    if not colon:
        raise TargetError(f"'{text}' is a layer: write '{text}:5' for a channel, '{text}:*' for all, or deep_dream('{text}')")
    raise TargetError(f"'{text}' is no unit: write {FORMS}")


def _layer_names(model: VisionModel) -> set[str]:
    return {row.name for row in model.survey.layers}


def _channels(text: str, n: int) -> list[int]:
    """Reads "*", "3,5,7" or "0-15" as indices of n channels, each once."""
    if text == "*":
        return list(range(n))
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if high < low:
            raise TargetError(f"'{part.strip()}' is an empty range of channels: write the smaller number first")
        found += range(low, min(high, max(n, low)) + 1)  # a single index beyond the last suffices for the error
    return list(dict.fromkeys(found))


def n_channels(model: VisionModel, layer: str) -> int:
    """Returns the number of units of a layer: channels of a map, or entries of a vector."""
    units = model.survey[layer].units
    if units is None:
        raise LayerError(f"{layer} of {model.name} has no map and so no units")
    return units


def check_unit(model: VisionModel, one: Unit) -> Unit:
    """Returns a unit with the full name of its layer; refuses a channel that the layer does not have.

    A position is checked only when pictures are made, since larger pictures have larger maps.
    """
    full = dataclasses.replace(one, layer=one_layer(model, one.layer))
    n = n_channels(model, full.layer)
    if model.survey[full.layer].channels is not None:
        checked_unit(model, dataclasses.replace(full, position=None))
    elif full.channel >= n:
        raise TargetError(f"unit {full} does not exist: {full.layer} has {n} channels, 0 to {n - 1}")
    return full


def check_needs(model: VisionModel, objective: Objective) -> None:
    """Refuses an objective that needs a layer or channel that the model does not have."""
    names = _layer_names(model)
    for need in objective.needs:
        layer = layer_of_need(need)
        if layer == OUTPUT:
            continue
        if layer not in names:
            found = model.find_layers(layer)  # its error suggests similar names
            raise MethodError(f"an objective looks at layers by their full names, not '{layer}': such as {found[0]}")
        if not isinstance(need, str):
            check_unit(model, need.unit if isinstance(need, PreActivation) else need)
