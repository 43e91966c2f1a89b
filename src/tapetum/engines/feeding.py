"""Checks whether a score depends on the output of a layer, before a method changes the layer or differentiates there.

The later layers may use only another output of the layer than the one that is watched (such as a pooled one beside the map),
only its class token, or nothing. A gradient at the layer is then no evidence, and an ablation measures rounding errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.engines.gradients import cut_at
from tapetum.engines.probe import edit, map_of
from tapetum.engines.scores import CallableScore, ModelScore
from tapetum.models.operations.nested import tensors

FEW = 3
"""Number of images that are tried, until one shows that the layer is read."""

Read: TypeAlias = Literal["map", "tokens", "nothing"]
"""Part of a layer's output that the score reads: the map, only the class and register tokens before it, or nothing."""


def read_of(score: ModelScore, images: Tensor, layer: str) -> Read:
    """Finds out on the first images which part of a layer's output the score reads; the answer "map" is cached.

    Returns "map" as well for a score that is the same for every image, which is not the layer's fault: methods report it
    themselves.
    """
    part, size = score.part, tuple(images.shape[-2:])
    if part is None:  # the user's function may need all images at once
        return _read_of(score, images.detach(), layer)
    fact = f"{layer} at {size} is read by {part}"
    if score.model.remember(fact):
        return "map"
    found: Read = "nothing"
    for row in range(min(len(images), FEW)):  # one image may be of a class whose weights are all 0
        found = _read_of(score.take([row]), images[row : row + 1].detach(), layer)
        if found == "map":
            score.model.remember(fact, lambda: True)
            break
    return found


def passed_by(score: ModelScore, images: Tensor, layer: str) -> bool:
    """Checks whether the score of the first image also depends on paths around the layer: a skip
    connection, a second branch.
    """
    part, size = score.part, tuple(images.shape[-2:])
    alone, image = score.take([0]), images[:1].detach()
    if part is None:
        return _passed_by(alone, image, layer)
    return score.model.remember(f"{part} is read past {layer} at {size}", lambda: _passed_by(alone, image, layer))


def _passed_by(score: ModelScore, image: Tensor, layer: str) -> bool:
    leaf, last = image.clone().requires_grad_(), score.model.survey.last_run(layer)
    with torch.enable_grad(), edit(score.model, {last: lambda activation: activation.detach().clone()}, raw=True):
        values = score(leaf)
    return _has_gradient(values, leaf)


def any_answer(score: ModelScore) -> ModelScore:
    """Replaces the user's function by a score of the whole answer, for methods that do not need the score of a target."""
    if not isinstance(score, CallableScore):
        return score
    return CallableScore(score.model, magnitude, rows=score.rows)


def magnitude(output: Any) -> Tensor:
    """Returns the sum of squares (n,) of the numbers in an answer; their plain sum would be 1 for every
    image after a softmax.
    """
    floats = [one for one in tensors(output) if one.ndim and one.is_floating_point()]
    return torch.stack([one.reshape(len(one), -1).square().sum(1) for one in floats]).sum(0)


def _read_of(score: ModelScore, images: Tensor, layer: str) -> Read:
    if _changes(score, images, layer, raw=False):
        return "map"
    where = map_of(score.model, layer)
    if where and where.prefix and _changes(score, images, layer, raw=True):
        return "tokens"
    return "nothing" if _depends_on(score, images) else "map"


def _changes(score: ModelScore, images: Tensor, layer: str, *, raw: bool) -> bool:
    """Checks whether the layer's output changes the score: by the gradient, or where there is none, by replacing the output."""
    if _has_gradient(*cut_at(score, images, layer, raw=raw)):
        return True

    def under(change: Callable[[Tensor], Tensor]) -> Tensor:
        with edit(score.model, {score.model.survey.last_run(layer): change}, raw=raw):
            return _seeded(score, images)

    usual = under(torch.clone)
    return not all(torch.equal(usual, under(change)) for change in (torch.zeros_like, _other))


def _depends_on(score: ModelScore, images: Tensor) -> bool:
    """Checks whether the score depends on the image at all."""
    leaf = images.clone().requires_grad_()
    with torch.enable_grad():
        values = score(leaf)
    return _has_gradient(values, leaf) or not torch.equal(_seeded(score, images), _seeded(score, _other(images)))


def _has_gradient(values: Tensor, leaf: Tensor) -> bool:
    if not values.requires_grad:
        return False
    try:
        with torch.enable_grad():  # the sum must be part of the graph, too
            (grad,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
    except RuntimeError:  # the network has an operation without a backward pass
        return False
    return grad is not None and bool((grad != 0).any())


def _seeded(score: ModelScore, images: Tensor) -> Tensor:
    """Returns the score (n,) under a fixed seed, for networks that draw random numbers."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return score(images)


def _other(activation: Tensor) -> Tensor:
    """Returns values of the same shape with another pattern and with both signs, to replace an activation."""
    flat = activation.flatten(1)
    return (flat.flip(1) - 2 * flat.mean(1, keepdim=True) - flat.std(1, keepdim=True, correction=0)).view_as(activation)
