"""Abstraction: what inversions of each depth lose, and whether the layer can tell it from the photograph at all."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

from tapetum.engines.probe import activations
from tapetum.families.inversions.inverting import information_by_depth
from tapetum.families.questions.curves import OWN, curve, of_one_twin, plain
from tapetum.families.questions.estimates import Estimate, student
from tapetum.families.questions.subjects import Subject
from tapetum.models.vision_model import VisionModel
from tapetum.types import InformationByDepth, LayerError
from tapetum.types.answers import Answer

LIKE = "likeness of the inversion to the photograph, SSIM"
SEEN = "difference to the photograph that the layer sees"
ROOM = "numbers of the layer per number of the picture"

OTHERS = 8
"""Photographs whose activations say how far apart two photographs are for a layer."""

FAILED = 0.25
"""Difference that the layer still sees, as a share of that of two photographs, from which the search has failed."""

MEASURED = (
    "inversions (tp.invert, {steps} steps) of {p} pictures at {d} depths, and of the same pictures in a network with random "
    "weights. Their likeness to the photograph (SSIM, 1: equal); the difference of activations that the search could not "
    "close, by that of two photographs (0: the layer takes the inversion for the photograph, 1: for any other picture); and "
    "how many numbers the layer has for each number of the picture. Intervals are Student's, over the pictures"
)
FALSE_IF = (
    "a longer search, or one from another start, found a picture that is both closer for the layer and more like the "
    "photograph: inversions are lower bounds of what a layer holds"
)


def abstraction(subject: Subject, layers: tuple[str, ...], p: int, n_steps: int, twin: VisionModel) -> Answer:
    """Answers what deep inversions lose, and whether the layer, its room or what was learned is the reason."""
    images, model = subject.images[:p], subject.model
    own, random = (_inverted(one, images, layers, n_steps, subject.seed) for one in (model, twin))
    like, theirs = (_by_depth(one.numbers["ssim"].double().cpu().view(len(images), -1), layers) for one in (own, random))
    seen = _by_depth(_left(subject, own, layers), layers)
    room = {name: prod(model.survey[name].shape[1:]) / images[0].numel() for name in layers}
    last = _deepest(seen)
    numbers = {"like_first": like[layers[0]].value, "like_last": like[last].value, "seen": seen[last].value, "room": room[last]}
    apart = like[last].high < theirs[last].low or like[last].low > theirs[last].high
    curves = (curve(LIKE, OWN, like), of_one_twin(LIKE, theirs), curve(SEEN, OWN, seen), curve(ROOM, OWN, plain(room)))
    return Answer(
        "abstraction",
        "unsaid" if last == layers[0] else "yes" if apart else "no",
        _said(like, theirs, seen, room),
        MEASURED.format(steps=n_steps, p=len(images), d=len(layers)),
        FALSE_IF,
        numbers,
        curves,
        (),
        torch.cat([subject.pixels[:1], own.pixels[: len(layers)].float().cpu()]),
        ("photograph", *layers),
    )


def _said(
    like: Mapping[str, Estimate], theirs: Mapping[str, Estimate], seen: Mapping[str, Estimate], room: Mapping[str, float]
) -> str:
    """Says what the deepest inversion lost, whether the layer sees it, and what random weights lose."""
    first, last, deepest = next(iter(like)), _deepest(seen), list(like)[-1]
    beyond = f"at {deepest} the search failed: it still sees {seen[deepest].percent} of the difference of two photographs"
    if last == first:
        return f"Not told: {beyond}."
    said = (
        f"The likeness of inversions (SSIM) falls from {like[first]} at {first} to {like[last]} at {last}, and yet {last} sees "
    )
    said += (
        f"only {seen[last].percent} of the difference of two photographs between the two: it does not record what is missing. "
    )
    said += f"With random weights and as many numbers ({room[last]:.2g} for each of the picture) it is {theirs[last]}: "
    return f"{said}{_cause(like[last], theirs[last])}{'' if last == deepest else f'; {beyond}'}."


def _deepest(seen: Mapping[str, Estimate]) -> str:
    """Returns the deepest depth at which the search closed the difference; the first if it did at none."""
    closed = [name for name, one in seen.items() if one.value <= FAILED]
    return closed[-1] if closed else next(iter(seen))


def _cause(own: Estimate, random: Estimate) -> str:
    """Says whether learning or the architecture explains what inversions lose, as far as the intervals tell."""
    if own.high < random.low:
        return "learning has given it up"
    if own.low > random.high:
        return "learning has kept more than the architecture alone would"
    return "learning is not shown to have a part in it"


def _inverted(model: VisionModel, images: Tensor, layers: tuple[str, ...], n_steps: int, seed: int) -> InformationByDepth:
    made = information_by_depth(model, images, layers=list(layers), n_steps=n_steps, seed=seed)
    assert isinstance(made, InformationByDepth)
    return made


def _by_depth(values: Tensor, layers: tuple[str, ...]) -> dict[str, Estimate]:
    """Returns {layer: mean over pictures, with Student's interval inside [-1, 1]; none for fewer than three pictures}."""
    n = len(values)
    half = student(n - 1) * values.std(0) / n**0.5 if n > 2 else torch.full_like(values[0], torch.nan)
    mean = values.mean(0)
    ends = (mean, (mean - half).clamp(min=-1), (mean + half).clamp(max=1))
    return {name: Estimate(*(float(one[i]) for one in ends)) for i, name in enumerate(layers)}


def _left(subject: Subject, made: InformationByDepth, layers: tuple[str, ...]) -> Tensor:
    """Returns (pictures, layers): the relative difference left, by the mean relative difference of other photographs."""
    model, images, left = subject.model, subject.images[:OTHERS], made.numbers["feature_loss"].double().cpu()
    p = len(left) // len(layers)
    found = torch.zeros(p, len(layers), dtype=torch.float64)
    for column, name in enumerate(layers):
        acts = activations(model, model.laid_out(images), name).flatten(1).double().cpu()
        for row in range(p):
            apart = (acts - acts[row]).square().sum(1) / acts[row].square().sum().clamp(min=1e-300)
            found[row, column] = left[row * len(layers) + column] / apart[torch.arange(len(acts)) != row].mean()
    return found


def inverted_layers(model: VisionModel, layers: tuple[str, ...], n: int = 4) -> tuple[str, ...]:
    """Returns n of the depths, the first and the last among them; refuses a network without any."""
    if not layers:
        raise LayerError(f"{model.name} has no layer with a map")
    places = torch.linspace(0, len(layers) - 1, min(n, len(layers))).round().int().tolist()
    return tuple(layers[place] for place in places)
