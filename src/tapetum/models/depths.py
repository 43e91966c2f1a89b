"""Chooses layers from early to deep, for methods that look at several depths of a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tapetum.models.choice import outermost
from tapetum.models.vision_model import VisionModel
from tapetum.types import Layer, LayerError


def depths(model: VisionModel, n: int = 3) -> list[str]:
    """Returns n layer names, evenly spread from early to deep: the last layer of each grid size, or neighbouring blocks.

    The blocks are used where the network has fewer than n grid sizes; there may be fewer than n names then.
    """
    mapped = [name for name in model.survey.order if _is_feature(model.survey[name])]
    if not mapped:
        raise LayerError(f"{model.name} has no layer with a map")
    by_grid: dict[tuple[int, int] | None, list[str]] = {}
    for name in mapped:
        by_grid.setdefault(model.survey[name].grid, []).append(name)
    stages = [outermost(names)[-1] for names in by_grid.values()]
    names = stages if len(stages) >= n else max(_siblings(mapped), key=len)
    places = torch.linspace(0, len(names) - 1, min(n, len(names))).round().int().tolist()
    return [names[place] for place in places]


def _is_feature(layer: Layer) -> bool:
    """Checks whether a layer gives a map of more than one row and column, and is not pooling, permutation or dropout."""
    passes_on = ("Pool", "Permute", "Dropout", "Identity", "Flatten")
    return layer.grid is not None and min(layer.grid) > 1 and not any(word in layer.kind for word in passes_on)


def _siblings(names: Sequence[str]) -> list[list[str]]:
    """Groups layer names by the module directly around them."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.rpartition(".")[0], []).append(name)
    return list(groups.values())
