"""Keeps activation vectors at random places of every picture, for activation atlases."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tapetum.engines.scan.trackers import sample_rows
from tapetum.engines.scan.trackers.base import Context, SeenBatch, State, used_ids
from tapetum.types import PositionsResult, TapetumError


@dataclass(frozen=True)
class Positions:
    """Keeps the activation vectors (one value per unit) at `count` random places of every picture, for activation atlases.

    Places are drawn without replacement, by a generator seeded with (seed, sample): a picture's places do not depend on
    which other pictures are scanned. All places of a map with fewer than `count` are taken.

    border   rows and columns left out at each side, where padding has an effect; a side too short for that keeps all of them
    dtype    "float16" halves the memory; values beyond 65504 are refused
    memory   count x units x 4 bytes per picture (2 in float16)

    Source: carter2019activation draws one place per picture, from a million pictures. Its published collector says "minus the
    edges" but leaves out the first row and column only (randint(1, size)); here all four sides.
    """

    count: int = 1
    seed: int = 0
    border: int = 1
    dtype: Literal["float16", "float32"] = "float32"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise TapetumError(f"count must be at least 1, not {self.count}")
        if self.border < 0:
            raise TapetumError(f"border must be at least 0, not {self.border}")
        if self.dtype not in ("float16", "float32"):
            raise TapetumError(f'dtype is "float16" or "float32", not {self.dtype!r}')

    def start(self, channels: int) -> State:
        vectors = torch.zeros(0, channels, dtype=getattr(torch, self.dtype))
        samples = torch.zeros(0, dtype=torch.int64)
        return {"samples": samples, "places": samples.to(torch.int32), "vectors": vectors}

    def update(self, state: State, seen: SeenBatch) -> State:
        allowed = inner(seen.maps.shape[2], seen.maps.shape[3], self.border)
        samples, order = seen.samples.sort()
        drawn = torch.stack([allowed[self._draw(sample, len(allowed))] for sample in samples.tolist()])
        maps = seen.maps.permute(0, 2, 3, 1).flatten(1, 2)  # (n, places, c)
        rows = order[:, None].to(maps.device)
        vectors = maps[rows, drawn.to(maps.device)].flatten(0, 1).cpu()
        stored = vectors.to(getattr(torch, self.dtype)) + 0.0
        if not bool(torch.isfinite(stored).all()):
            largest = float(vectors.abs().max())
            raise TapetumError(f'values up to {largest:g} do not fit into {self.dtype}: use Positions(dtype="float32")')
        repeated = samples.repeat_interleave(drawn.shape[1])
        return self.merge(state, {"samples": repeated, "places": drawn.flatten().to(torch.int32), "vectors": stored})

    def _draw(self, sample: int, places: int) -> Tensor:
        """Draws up to `count` places of a picture, as indices below `places`."""
        seed = int.from_bytes(hashlib.sha256(f"{self.seed} {sample}".encode()).digest()[:4], "little")
        return torch.randperm(places, generator=torch.Generator().manual_seed(seed))[: self.count]

    def merge(self, a: State, b: State) -> State:
        return sample_rows.merged(a, b)

    def result(self, state: State, context: Context) -> PositionsResult:
        samples = state["samples"]
        ids = used_ids([samples], context.ids)
        return PositionsResult(context.layer, state["vectors"], samples, state["places"].long(), context.grid, ids)


def inner(rows: int, columns: int, border: int) -> Tensor:
    """Returns the flat positions of a map without its border; a side too short for a border is kept whole."""
    kept = [torch.arange(side)[border : side - border] if side > 2 * border else torch.arange(side) for side in (rows, columns)]
    return (kept[0][:, None] * columns + kept[1]).flatten()
