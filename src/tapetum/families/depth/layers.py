"""Layers that methods of depth look at by default, and the one pass that visits them."""

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
"""Number of layers in methods for which each layer costs passes of its own."""


def named_or_blocks(model: VisionModel, layers: Sequence[str] | str | None) -> list[str]:
    """The named layers, all with a map; None: the output of every block."""
    return list(block_layers(model.survey)) if layers is None else layers_with_maps(model, layers)


def named_or_five(model: VisionModel, layers: Sequence[str] | str | None) -> list[str]:
    """The named layers, all with a map; None: five from early to deep, of five different grids where there are as many."""
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
    """{layer: compute(activation)} from one pass that keeps no activation; `raw`: also of layers without a map."""
    found: dict[str, T] = {}

    def visit(name: str, activation: Tensor) -> None:
        found[name] = compute(activation)

    with edit(model, {name: partial(visit, name) for name in layers}, stop=True, raw=raw):
        model(images)
    return found
