"""Objectives inside the network: what a unit answers."""

from __future__ import annotations

from torch import Tensor

from tapetum.engines.render.objectives.base import Objective, Seen
from tapetum.types import Unit


def channel(layer: str, index: int) -> Objective:
    """The mean of a channel over its map, (n,)."""
    return Objective(f"channel({layer}, {index})", (Unit(layer, index),), lambda seen: _mean(seen[layer][:, index]))


def neuron(layer: str, index: int, row: int | None = None, column: int | None = None) -> Objective:
    """A channel at one place of its map (n,): without row and column the middle one."""

    def value(seen: Seen) -> Tensor:
        act = seen[layer][:, index]
        if act.ndim == 1:
            return act
        y, x = act.shape[-2] // 2 if row is None else row, act.shape[-1] // 2 if column is None else column
        return act[:, y, x]

    where = "" if row is None or column is None else f", {row}, {column}"
    position = None if row is None or column is None else (row, column)
    return Objective(f"neuron({layer}, {index}{where})", (Unit(layer, index, position),), value)


def unit(one: Unit) -> Objective:
    """The channel, or with a position the neuron, that a unit names."""
    return channel(one.layer, one.channel) if one.position is None else neuron(one.layer, one.channel, *one.position)


def _mean(act: Tensor) -> Tensor:
    return act.flatten(1).mean(1) if act.ndim > 1 else act
