"""Objectives along directions in the space of channels.

    dot x max(.1, cosine)^p

The dot product of activation and direction alone (p = 0) is large wherever the activation is large; the cosine demands that
the activation point in no other direction. The floor of .1 keeps two negative factors from making a positive product.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tapetum.engines.render.objectives.base import Objective, Seen
from tapetum.engines.render.objectives.common import (
    Vector,
    activation_of,
    along,
    call_text,
    checked_place,
    maps,
    mean,
    place_of,
    positive,
    vector_of,
)
from tapetum.types import Concept, TargetError

FLOOR = 0.1
"""Smallest value of the cosine in dot x cosine^p, as in Lucid."""

SHORT = 1e-4
"""Shortest length of an activation in a cosine, relative to the direction; shorter ones count as this, to keep gradients
finite.
"""


def direction(layer: str, vector: Vector, *, cosine_power: float | int = 0) -> Objective:
    """Activation (n,) along a direction v in the space of channels: the mean over the map of (a . v) max(.1, cos(a, v))^p.

    v is not normalised.
    """
    v, p = vector_of(vector, "a direction"), positive(cosine_power, "cosine_power", reached=True)

    def value(seen: Seen) -> Tensor:
        act = maps(seen, layer)
        return mean(dot_times_cosine(act, along(v, act, layer), p))

    return Objective(call_text("direction", layer, v, cosine_power=p or None), (layer,), value)


def direction_neuron(
    layer: str, vector: Vector, row: int | None = None, column: int | None = None, *, cosine_power: float | int = 0
) -> Objective:
    """Activation (n,) along a direction v at one position of the map, by default its middle: (a . v) max(.1, cos(a, v))^p."""
    v, p = vector_of(vector, "a direction"), positive(cosine_power, "cosine_power", reached=True)
    checked_place(row, column)

    def value(seen: Seen) -> Tensor:
        act = place_of(maps(seen, layer), layer, row, column)
        return dot_times_cosine(act, along(v, act, layer), p)

    return Objective(call_text("direction_neuron", layer, v, row, column, cosine_power=p or None), (layer,), value)


def concept(one: Concept) -> Objective:
    """Activation (n,) along a concept's direction v: the mean over the map of (a . v) / |v|, or its value at the position.

    It is the number that the concept has as a target.
    """
    name, v, place = str(one), one.unit_vector, one.position
    made = direction(one.layer, v) if place is None else direction_neuron(one.layer, v, *place)
    return Objective(name, made.needs, made.value)


def cosine_direction(layer: str, vector: Vector) -> Objective:
    """Cosine (n,) in [-1, 1] between activations a and a direction v: the mean over the map of cos(a, v), 0 where a is zero.

    The same as Lucent's `direction`.
    """
    v = vector_of(vector, "a direction")

    def value(seen: Seen) -> Tensor:
        act = maps(seen, layer)
        return mean(cosine(act, along(v, act, layer)))

    return Objective(call_text("cosine_direction", layer, v), (layer,), value)


def tensor_direction(layer: str, tensor: Tensor, *, cosine_power: float | int = 0) -> Objective:
    """Activation (n,) along a separate direction v at each position: the mean of (a . v) max(.1, cos(a, v))^p.

    The directions are `tensor` (c, h', w'). One smaller than the map is compared with the middle of the map; a larger one is
    refused.
    """
    given, p = activation_of(tensor, "a direction for each place"), positive(cosine_power, "cosine_power", reached=True)

    def value(seen: Seen) -> Tensor:
        act = _middle(maps(seen, layer), given, layer)
        return mean(dot_times_cosine(act, given.to(act.device, act.dtype), p))

    return Objective(call_text("tensor_direction", layer, given, cosine_power=p or None), (layer,), value)


def _middle(act: Tensor, given: Tensor, layer: str) -> Tensor:
    """Returns the middle part of maps (n, c, h, w), as large as `given` (c, h', w'); refuses a `given` that does not fit."""
    channels, height, width = (int(side) for side in given.shape)
    if channels != act.shape[1] or height > act.shape[-2] or width > act.shape[-1]:
        here = " x ".join(map(str, act.shape[1:]))
        raise TargetError(f"{channels} x {height} x {width} numbers do not fit {layer}, {here} (c x h x w) at this size")
    y, x = act.shape[-2] // 2 - height // 2, act.shape[-1] // 2 - width // 2
    return act[:, :, y : y + height, x : x + width]


def dot_times_cosine(act: Tensor, v: Tensor, power: float | int) -> Tensor:
    """Returns (a . v) max(.1, cos(a, v))^power at each position, (n, c, ...) to (n, ...)."""
    dot = (act * v).sum(1)
    return dot if power == 0 else dot * cosine(act, v).clamp(min=FLOOR) ** power


def cosine(act: Tensor, v: Tensor) -> Tensor:
    """Returns the cosine a . v / (|a| |v|) at each position, (n, c, ...) to (n, ...); 0 where a or v is zero."""
    v = v.expand_as(act)
    lengths = torch.linalg.vector_norm(act, dim=1), torch.linalg.vector_norm(v, dim=1)
    product = torch.maximum(lengths[0], SHORT * lengths[1]) * lengths[1]
    return (act * v).sum(1) / torch.where(product > 0, product, 1)
