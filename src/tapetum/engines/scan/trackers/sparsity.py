"""Counts how rarely units fire."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tapetum.engines.scan.trackers.base import Context, SeenBatch, State
from tapetum.types import SparsityResult


@dataclass(frozen=True)
class Sparsity:
    """Keeps how rarely each unit fires: the shares of places, and of pictures, where its value is not above zero.

    sparsity = places with a value <= 0 / all places of all pictures;  silent = pictures whose maximum is <= 0 / pictures.
    A dead unit is silent on every picture. For units that can be negative by design (the output of a linear layer), the
    sparsity only tells how many places are not positive, and a silent unit is not dead.

    memory   20 bytes per unit
    """

    def start(self, channels: int) -> State:
        none = torch.zeros(1, dtype=torch.int64)
        counts = torch.zeros(channels, dtype=torch.int64)
        lowest = torch.full((channels,), float("inf"))
        return {"pictures": none, "places": none.clone(), "off": counts, "silent": counts.clone(), "lowest": lowest}

    def update(self, state: State, seen: SeenBatch) -> State:
        n, _, h, w = seen.maps.shape
        fires = torch.gt(seen.maps, 0, out=torch.empty_like(seen.maps, dtype=torch.float32))
        on = fires.sum((2, 3)).long().sum(0).cpu()  # a map has fewer than 2^24 places; floats add up quicker than booleans
        silent = (seen.peak <= 0).sum(0)
        counts = {"pictures": torch.tensor([n]), "places": torch.tensor([n * h * w]), "off": n * h * w - on, "silent": silent}
        return self.merge(state, {**counts, "lowest": seen.maps.amin((0, 2, 3)).float().cpu()})

    def merge(self, a: State, b: State) -> State:
        counts = {name: a[name] + b[name] for name in a if name != "lowest"}
        return {**counts, "lowest": torch.minimum(a["lowest"], b["lowest"]) + 0.0}

    def result(self, state: State, context: Context) -> SparsityResult:
        places, pictures = int(state["places"]), int(state["pictures"])
        sparsity, silent = state["off"].double() / places, state["silent"].double() / pictures
        return SparsityResult(context.layer, pictures, sparsity, silent, state["lowest"])
