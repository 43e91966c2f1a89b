"""Conditions on relevance: at a layer only the relevance of chosen channels is kept (concept relevance propagation)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tapetum.engines.scores.inside import checked_unit
from tapetum.models.maps import to_map
from tapetum.models.vision_model import VisionModel
from tapetum.types import Unit

Through = str | Unit | Sequence[str | Unit]
"""Channels as "layer:channel", places of them as "layer:channel@row,column"; several with commas between, or a sequence."""


def conditions(model: VisionModel, through: Through | None, size: tuple[int, int]) -> dict[str, Callable[[Tensor], Tensor]]:
    """Returns {layer: function that keeps only the relevance of the named channels} for images of a size (h, w)."""
    units = [checked_unit(model, unit) for unit in _units(through)]
    by_layer = {unit.layer: [one for one in units if one.layer == unit.layer] for unit in units}
    return {model.survey.last_run(layer): _keep(model, layer, some, size) for layer, some in by_layer.items()}


def _units(through: Through | None) -> list[Unit]:
    if through is None or isinstance(through, Unit):
        return [] if through is None else [through]
    if isinstance(through, str):
        through = [part for part in through.replace(", ", ";").split(";") if part]
    return [Unit.parse(one) if isinstance(one, str) else one for one in through]


def _keep(model: VisionModel, layer: str, units: Sequence[Unit], size: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    where = model.survey.map_of(layer)

    def keep(arriving: Tensor) -> Tensor:
        mask = torch.zeros(1, *arriving.shape[1:], dtype=arriving.dtype, device=arriving.device)
        for unit in units:
            if unit.position is None:  # at every place, and in class and register tokens
                mask.select(1 if where.layout == "nchw" else -1, unit.channel).fill_(1)
            else:
                to_map(where, mask, size)[0, unit.channel, unit.position[0], unit.position[1]] = 1
        return arriving * mask

    return keep
