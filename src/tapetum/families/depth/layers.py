"""Default layers of the methods in this folder, and a pass that computes something at each layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from tapetum.border.layers import layers_with_maps
from tapetum.engines.probe import edit
from tapetum.models.blocks import block_layers
from tapetum.models.depths import depths
from tapetum.models.vision_model import VisionModel

T = TypeVar("T")

FEW = 5
"""Default number of layers in methods where each layer needs additional passes."""


def named_or_blocks(model: VisionModel, layers: Sequence[str] | str | None) -> list[str]:
    """Returns the named layers, refusing those without a map; for None, the outputs of all blocks."""
    return list(block_layers(model.survey)) if layers is None else layers_with_maps(model, layers)


def named_or_five(model: VisionModel, layers: Sequence[str] | str | None) -> list[str]:
    """Returns the named layers, refusing those without a map; for None, five depths, with different grids if possible."""
    if layers is not None:
        return layers_with_maps(model, layers)
    ends = depths(model, FEW)
    if len({model.survey[name].grid for name in ends}) == FEW:
        return ends
    blocks = block_layers(model.survey)
    return [blocks[place] for place in torch.linspace(0, len(blocks) - 1, min(FEW, len(blocks))).round().int().tolist()]


def at_layers(
    model: VisionModel, images: Tensor, layers: Sequence[str], compute: Callable[[Tensor], T], *, raw: bool = False
) -> dict[str, T]:
    """Returns {layer: compute(activation)} from one pass without storing activations; `raw` allows layers without a map."""
    found: dict[str, T] = {}

    def visit(name: str, activation: Tensor) -> None:
        found[name] = compute(activation)

    with edit(model, {name: partial(visit, name) for name in layers}, stop=True, raw=raw):
        model(images)
    return found
