"""Scores other than the model's answer: a unit or a direction inside the network, or the user's function of the output."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from inspect import Parameter
from typing import Any

import torch
from torch import Tensor

from tapetum.engines.probe import edit
from tapetum.engines.scores.base import ModelScore, TargetScore, one_each
from tapetum.models.vision_model import VisionModel
from tapetum.types import Concept, LayerError, TargetError, Unit


@dataclass(frozen=True, eq=False)
class CallableScore(ModelScore):
    """Score that the user's function computes from the model's output: one value per image, (n,).

    A function of two parameters, `lambda output, rows: ...`, also gets the original index of the image of each row.
    """

    function: Callable[..., Tensor]

    def read(self, output: Any) -> Tensor:
        """Returns the score (n,) of each image, read from the model's output."""
        values = self.function(output, self.rows) if _asks_for_rows(self.function) else self.function(output)
        if not isinstance(values, Tensor) or values.ndim != 1:
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise TargetError(f"a callable target returns one value per image, a tensor (n,); this one returned {shape}")
        return values

    def explains(self, n: int) -> tuple[Any, ...]:
        return (self.function,) * n

    def describe(self, n: int) -> tuple[str, ...]:
        return (getattr(self.function, "__name__", "callable"),) * n


def _asks_for_rows(function: Callable[..., Tensor]) -> bool:
    """Checks whether a function has two required parameters, output and rows."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return False
    positional = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return len([one for one in parameters if one.default is Parameter.empty and one.kind in positional]) == 2


@dataclass(frozen=True, eq=False)
class UnitScore(TargetScore):
    """Score (n,) of a unit or a concept inside the network: its activation at a position, or the mean over its map."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "part", f"inside {sorted({one.layer for one in self.targets})}")

    def __call__(self, images: Tensor, /) -> Tensor:
        one_each(self.targets, len(images))
        seen: dict[str, Tensor] = {}
        edits = {unit.layer: partial(_keep_copy, seen, unit.layer) for unit in self.targets}
        with edit(self.model, edits, stop=True):
            self.model(images, self.rows)
        return torch.stack([_unit_value(seen[unit.layer][row], unit) for row, unit in enumerate(self.targets)])

    def read(self, output: Any) -> Tensor:
        """Refuses: the network's output does not hold the activation of a unit."""
        raise TargetError("a unit is read while the network runs, not from its output: call the score on images")


def _keep_copy(seen: dict[str, Tensor], layer: str, activation: Tensor) -> None:
    seen[layer] = activation.clone()


def _unit_value(activation: Tensor, unit: Unit | Concept) -> Tensor:
    """Returns the value of a unit or a concept in the activation of one image, (c, h, w) or (c,)."""
    if isinstance(unit, Concept):
        channel = torch.tensordot(unit.unit_vector.to(activation.device, activation.dtype), activation, 1)
    else:
        channel = activation[unit.channel]
    return channel.mean() if unit.position is None else channel[unit.position]


def one_layer(model: VisionModel, layer: str, why: str = "") -> str:
    """Returns the full name of the layer that a name or glob means; refuses several, with `why` at the end."""
    names = model.find_layers(layer)
    if len(names) != 1:
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise LayerError(f"'{layer}' means {len(names)} layers of {model.name} ({shown}); give one{why}")
    return names[0]


def checked_unit(model: VisionModel, unit: Unit) -> Unit:
    """Returns the unit; refuses a layer that the model does not have, and a channel or position that the layer lacks."""
    layer = one_layer(model, unit.layer)
    channels, grid = model.survey[layer].channels, model.survey[layer].grid
    if channels is None:
        raise LayerError(f"{layer} of {model.name} has no map and so no units")
    if unit.channel >= channels:
        raise TargetError(f"unit {unit} does not exist: {layer} has {channels} channels, 0 to {channels - 1}")
    _check_position(unit, layer, grid)
    return unit


def checked_concept(model: VisionModel, concept: Concept, *, placed: bool = True) -> Concept:
    """Returns the concept with the full name of its layer; refuses one that does not fit the layer.

    Without `placed` the position is not checked against the layer's map at the model's own size.
    """
    row = model.survey[one_layer(model, concept.layer, ", since a concept has one")]
    if row.units is None:
        raise LayerError(f"{row.name} of {model.name} has no map and so no directions of channels")
    if len(concept.direction) != row.units:
        raise TargetError(f"{concept} has {len(concept.direction)} numbers, {row.name} has {row.units} channels: give one each")
    if placed:
        _check_position(concept, row.name, row.grid or (0, 0))
    return replace(concept, layer=row.name)


def _check_position(one: Unit | Concept, layer: str, grid: tuple[int, int] | None) -> None:
    if one.position is not None and grid is not None and not all(0 <= p < g for p, g in zip(one.position, grid, strict=True)):
        what = "unit" if isinstance(one, Unit) else "concept"
        raise TargetError(f"{what} {one} does not exist: the map of {layer} has {grid[0]} x {grid[1]} positions")
