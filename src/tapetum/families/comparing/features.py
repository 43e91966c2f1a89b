"""Features of pictures at layers of a network: maps averaged over places, kept for all pictures, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.layers import all_layers
from tapetum.engines.alignment import FEWEST
from tapetum.engines.memory import free_bytes
from tapetum.engines.probe import capture
from tapetum.families.comparing.pictures import Deck
from tapetum.models.blocks import block_layers
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import Batch, LayerError, MethodError

SAID_BYTES = 2**26
SHARE = 0.4
"""Share of the free memory that the features of a network may take."""


def layer_names(model: VisionModel, layers: Any, which: str) -> list[str]:
    """Returns the layers to compare: those named, for both networks or as {"a": ..., "b": ...}; None: every block's output."""
    if isinstance(layers, Mapping):
        if not set(layers) <= {"a", "b"}:
            raise LayerError(f'layers of each network are {{"a": names, "b": names}}, not {sorted(map(str, layers))}')
        layers = layers.get(which)
    return list(block_layers(model.survey)) if layers is None else all_layers(model, layers)


def features(model: VisionModel, pictures: Deck, layers: Sequence[str], cells: int, batch: Batch) -> dict[str, Tensor]:
    """Returns {layer: features (n, p)} in double precision on the CPU."""
    if len(pictures) < FEWEST:
        raise MethodError(f"CKA without bias takes at least {FEWEST} pictures, and there are {len(pictures)}")
    found: dict[str, list[Tensor]] = {name: [] for name in layers}
    for rows, images in pictures.batches(model, batch):
        with torch.no_grad(), capture(model, list(layers)) as acts:
            model(images)
        for name in layers:
            found[name].append(pooled(acts[name], cells, len(rows), name))
        if rows[0] == 0:
            _check_room(model, sum(many[0][0].nbytes for many in found.values()) * len(pictures))
    return {name: torch.cat(many) for name, many in found.items()}


def pooled_at(model: VisionModel, pictures: Deck, layer: str | None, batch: Batch) -> Tensor:
    """Returns the features (n, p) of one layer; of the last block where the network has none of that name."""
    known = layer in {one.name for one in model.survey.layers}
    name = layer if layer is not None and known else block_layers(model.survey)[-1]
    return features(model, pictures, [name], 1, batch)[name]


def pooled(activation: Tensor, cells: int, n: int, name: str) -> Tensor:
    """Returns an activation as features (n, p): maps averaged in cells x cells cells, token rows over tokens, vectors whole."""
    if len(activation) != n:
        raise LayerError(f"{name} gives {len(activation)} rows for {n} pictures: name a layer with one row for each")
    if activation.ndim == 4:
        flat = F.adaptive_avg_pool2d(activation.double(), cells).flatten(1)
    else:
        flat = (activation.mean(1) if activation.ndim == 3 else activation).double().flatten(1)
    if not bool(flat.isfinite().all()):
        raise LayerError(f"{name} has NaN or infinity on these pictures: compare other layers")
    return flat.cpu()


def _check_room(model: VisionModel, bytes_: int) -> None:
    """Notes the memory that the features take; refuses more than there is."""
    megabytes = f"{bytes_ / 2**20:,.0f} MiB"
    if bytes_ > SHARE * free_bytes(torch.device("cpu")):
        raise MethodError(f"the features of {model.name} take {megabytes}, too much: compare fewer layers or pictures")
    if bytes_ > SAID_BYTES:
        note(f"features of {model.name} take {megabytes} of memory, for all pictures")
