"""Checks whether the score reads a layer, before a method changes the layer or differentiates there.

A network may hand on another of a layer's outputs than the one that is watched (a pooled one beside the map), or only its
class token, or nothing. A gradient there is then no evidence, and an ablation measures rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.engines.gradients import cut_at
from tapetum.engines.probe import edit, map_of
from tapetum.engines.scores import (
    BoxScore,
    CallableScore,
    ClassScore,
    ModelScore,
    OutputScore,
    PredictedScore,
    RegionScore,
    UnitScore,
    answer,
)
from tapetum.models.operations.nested import tensors

FEW = 3
"""Images that are tried, until one says that the layer is read."""

Read: TypeAlias = Literal["map", "tokens", "nothing"]
"""Part of a layer that the score reads: its map, only the class and register tokens before it, or nothing."""


def read_of(score: ModelScore, images: Tensor, layer: str) -> Read:
    """Finds out on the first images; that the map is read is remembered for the network and this part of its answer.

    A score that is the same for every image is not the layer's fault: methods say themselves that there is nothing to see.
    """
    part, size = part_of(score, images), tuple(images.shape[-2:])
    if part is None:  # a function of the user's may know how many images there are
        return _read_of(score, images.detach(), layer)
    fact = f"{layer} at {size} is read by {part}"
    if score.model.recall(fact):
        return "map"
    found: Read = "nothing"
    for row in range(min(len(images), FEW)):  # one may be of a class whose weights are 0
        found = _read_of(score.take([row]), images[row : row + 1].detach(), layer)
        if found == "map":
            score.model.remember(fact, lambda: True)
            break
    return found


def passed_by(score: ModelScore, images: Tensor, layer: str) -> bool:
    """Whether the score reads the first image on other ways, too, than through the layer's output: a skip, a second branch."""
    part, size = part_of(score, images), tuple(images.shape[-2:])
    alone, image = score.take([0]), images[:1].detach()
    if part is None:
        return _passed_by(alone, image, layer)
    return score.model.remember(f"{part} is read past {layer} at {size}", lambda: _passed_by(alone, image, layer))


def _passed_by(score: ModelScore, image: Tensor, layer: str) -> bool:
    leaf, last = image.clone().requires_grad_(), score.model.survey.last_run(layer)
    with torch.enable_grad(), edit(score.model, {last: lambda activation: activation.detach().clone()}, raw=True):
        values = score(leaf)
    return _has_gradient(values, leaf)


def part_of(score: ModelScore, images: Tensor) -> str | None:
    """Part of the network's answer that is read: a layer that one target's score reads, another's of that part reads, too."""
    if isinstance(score, CallableScore):
        return None
    if isinstance(score, OutputScore):
        return f"outputs {sorted({str(one.head) for one in score.targets})}"
    if isinstance(score, UnitScore):
        return f"units of {sorted({one.layer for one in score.targets})}"
    if isinstance(score, PredictedScore):  # it becomes one of these
        known = answer(score.model, images)
        return {"table": ClassScore, "maps": RegionScore, "detections": BoxScore}[known.kind].__name__
    return type(score).__name__


def any_answer(score: ModelScore) -> ModelScore:
    """Score of the whole answer in place of a user's function: for methods that need no target's score."""
    if not isinstance(score, CallableScore):
        return score
    return CallableScore(score.model, _magnitude, rows=score.rows)


def _magnitude(output: Any) -> Tensor:
    """Sum (n,) of the squares of an answer's numbers: the plain sum of a softmax would be the same for every image."""
    return torch.stack([one.flatten(1).square().sum(1) for one in tensors(output) if one.ndim and one.is_floating_point()]).sum(
        0
    )


def _read_of(score: ModelScore, images: Tensor, layer: str) -> Read:
    if _changes(score, images, layer, raw=False):
        return "map"
    where = map_of(score.model, layer)
    if where and where.prefix and _changes(score, images, layer, raw=True):
        return "tokens"
    return "nothing" if _depends_on(score, images) else "map"


def _changes(score: ModelScore, images: Tensor, layer: str, *, raw: bool) -> bool:
    """Whether the layer changes the score: by the gradient; where that is zero (saturation, no gradients) by other values."""
    if _has_gradient(*cut_at(score, images, layer, raw=raw)):
        return True

    def under(change: Callable[[Tensor], Tensor]) -> Tensor:
        with edit(score.model, {score.model.survey.last_run(layer): change}, raw=raw):
            return _seeded(score, images)

    usual = under(torch.clone)
    return not all(torch.equal(usual, under(change)) for change in (torch.zeros_like, _other))


def _depends_on(score: ModelScore, images: Tensor) -> bool:
    """Whether the score depends on the image at all."""
    leaf = images.clone().requires_grad_()
    with torch.enable_grad():
        values = score(leaf)
    return _has_gradient(values, leaf) or not torch.equal(_seeded(score, images), _seeded(score, _other(images)))


def _has_gradient(values: Tensor, leaf: Tensor) -> bool:
    if not values.requires_grad:
        return False
    try:
        with torch.enable_grad():  # the sum is a node of the graph, too
            (grad,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
    except RuntimeError:  # an operation of the network's own that cannot be gone back through
        return False
    return grad is not None and bool((grad != 0).any())


def _seeded(score: ModelScore, images: Tensor) -> Tensor:
    """Score with a fixed seed, for networks that draw random numbers."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return score(images)


def _other(activation: Tensor) -> Tensor:
    """Activation of the same size with another pattern, and with both signs."""
    flat = activation.flatten(1)
    return (flat.flip(1) - 2 * flat.mean(1, keepdim=True) - flat.std(1, keepdim=True, correction=0)).view_as(activation)
