"""Objectives inside the network: the activation of a unit, of part of a map, or of a whole layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tapetum.engines.render.objectives.base import Objective, PreActivation, Seen
from tapetum.engines.render.objectives.common import (
    Vector,
    along,
    call_text,
    channel_of,
    checked_place,
    maps,
    mean,
    place_of,
    vector_of,
    whole_number,
)
from tapetum.types import TargetError, Unit


def channel(layer: str, index: int, pre_activation: bool = False) -> Objective:
    """Mean (n,) of a channel over its map. `-channel(layer, index)` finds what suppresses the channel.

    With `pre_activation`, the channel is read before the activation function that ends the layer: after a ReLU, a channel that
    is 0 everywhere cannot fall further. Of a layer that ends otherwise, the output is read.
    """
    index = whole_number(index, "a channel")
    name = call_text("channel", layer, index, pre_activation=pre_activation or None)
    need = PreActivation(Unit(layer, index)) if pre_activation else Unit(layer, index)
    return Objective(name, (need,), lambda seen: mean(channel_of(maps(seen, layer, pre_activation), layer, index)))


def neuron(layer: str, index: int, row: int | None = None, column: int | None = None) -> Objective:
    """Activation (n,) of a channel at one position of its map (h, w), by default (h // 2, w // 2).

    Rows and columns count from 0 in the map that the layer has for the rendered size of pictures.
    """
    index, place = whole_number(index, "a channel"), checked_place(row, column)

    def value(seen: Seen) -> Tensor:
        return channel_of(place_of(maps(seen, layer), layer, row, column), layer, index)

    return Objective(call_text("neuron", layer, index, row, column), (Unit(layer, index, place),), value)


def unit(one: Unit) -> Objective:
    """Objective of a unit: `channel`, or `neuron` if the unit has a position."""
    return channel(one.layer, one.channel) if one.position is None else neuron(one.layer, one.channel, *one.position)


def channel_weight(layer: str, weights: Vector) -> Objective:
    """Weighted sum (n,) of channels: the mean over the map of sum_c w_c a_c.

    With weight 1 for one channel alone it equals `channel`. Lucent takes the mean over the c channels, not the sum, so its
    values are c times smaller.
    """
    vector = vector_of(weights, "a weight")

    def value(seen: Seen) -> Tensor:
        return mean(_weighted(maps(seen, layer), layer, vector))

    return Objective(call_text("channel_weight", layer, vector), (layer,), value)


def neuron_weight(layer: str, weights: Vector, row: int | None = None, column: int | None = None) -> Objective:
    """Weighted sum (n,) of channels, sum_c w_c a_c, at one position of the map, by default its middle."""
    vector = vector_of(weights, "a weight")
    checked_place(row, column)

    def value(seen: Seen) -> Tensor:
        return _weighted(place_of(maps(seen, layer), layer, row, column), layer, vector)

    return Objective(call_text("neuron_weight", layer, vector, row, column), (layer,), value)


def local_group(layer: str, channels: int | Vector | None, row: int, column: int, height: int = 1, width: int = 1) -> Objective:
    """Mean (n,) over a rectangle of the map, of one channel, of the weighted sum sum_c w_c a_c, or with None of all channels.

    The upper left corner of the rectangle is (row, column), counted from 0; it must lie in the map.
    """
    y, x = whole_number(row, "a row"), whole_number(column, "a column")
    h, w = whole_number(height, "a height", 1), whole_number(width, "a width", 1)
    read, needs, which = _channels(layer, channels)

    def value(seen: Seen) -> Tensor:
        act = maps(seen, layer)
        if y + h > act.shape[-2] or x + w > act.shape[-1]:
            shape = f"{act.shape[-2]} x {act.shape[-1]}"
            raise TargetError(f"{h} x {w} places from {y}, {x} do not lie in the map of {layer}, {shape} at this picture size")
        return mean(read(act[:, :, y : y + h, x : x + w]))

    return Objective(call_text("local_group", layer, "all" if which is None else which, y, x, h, w), needs, value)


def _channels(layer: str, channels: Any) -> tuple[Any, tuple[Unit | str, ...], int | Tensor | None]:
    """Returns a function that reads the channels from maps (n, c, h, w), the needs of the objective, and the channels as
    checked.
    """
    if channels is None:
        return (lambda act: act), (layer,), None
    if isinstance(channels, int):
        index = whole_number(channels, "a channel")
        return (lambda act: channel_of(act, layer, index)), (Unit(layer, index),), index
    vector = vector_of(channels, "a weight")
    return (lambda act: _weighted(act, layer, vector)), (layer,), vector


def _weighted(act: Tensor, layer: str, vector: Tensor) -> Tensor:
    """Returns the weighted sum over channels, (n, c, ...) to (n, ...)."""
    return (act * along(vector, act, layer)).sum(1)


def deep_dream(layer: str) -> Objective:
    """Mean square (n,) of a layer's activation, which amplifies whatever the layer detects (mordvintsev2015inceptionism)."""
    return Objective(call_text("deep_dream", layer), (layer,), lambda seen: mean(torch.square(maps(seen, layer))))
