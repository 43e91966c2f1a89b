"""Which layers an inspection by depth asks, and one pass that asks them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from tapetum.border.layers import named_layers
from tapetum.engines.probe import edit
from tapetum.models.blocks import block_layers
from tapetum.models.depths import depths
from tapetum.models.vision_model import VisionModel
from tapetum.types import LayerError

T = TypeVar("T")

FEW = 5
"""Layers where each costs passes of its own."""


def stages(model: VisionModel, layers: Sequence[str] | str | None) -> list[str]:
    """The named layers with a map; None: the output of every block."""
    return list(block_layers(model.survey)) if layers is None else with_maps(model, layers)


def few(model: VisionModel, layers: Sequence[str] | str | None) -> list[str]:
    """The named layers with a map; None: five from early to deep, each of another grid where the network has as many."""
    if layers is not None:
        return with_maps(model, layers)
    ends = depths(model, FEW)
    if len({model.survey[name].grid for name in ends}) == FEW:
        return ends
    blocks = block_layers(model.survey)
    return [blocks[place] for place in torch.linspace(0, len(blocks) - 1, min(FEW, len(blocks))).round().int().tolist()]


def found(model: VisionModel, layers: Sequence[str] | str) -> list[str]:
    """Names or globs, also several in one text with commas between."""
    return model.find_layers([name for name in named_layers(layers) if name])


def with_maps(model: VisionModel, layers: Sequence[str] | str) -> list[str]:
    """Names or globs; a layer without places is refused."""
    names = found(model, layers)
    for name in names:
        if model.survey[name].grid is None:
            raise LayerError(f"{name} of {model.name} gives no map (n, c, h, w): name a layer that has one")
    return names


def asked(
    model: VisionModel, images: Tensor, layers: Sequence[str], question: Callable[[Tensor], T], *, raw: bool = False
) -> dict[str, T]:
    """{layer: question(activation)} from one pass, each activation asked when it is there and kept no longer."""
    answers: dict[str, T] = {}

    def ask(name: str) -> Callable[[Tensor], None]:
        def one(activation: Tensor) -> None:
            answers[name] = question(activation)

        return one

    with edit(model, {name: ask(name) for name in layers}, stop=True, raw=raw):
        model(images)
    return answers


def size_of(images: Tensor) -> tuple[int, int]:
    """(h, w)."""
    return int(images.shape[-2]), int(images.shape[-1])
