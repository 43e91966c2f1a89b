"""Lets any tracker see the concepts of a dictionary in place of a layer's units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from tapetum.engines.dictionaries import code_maps
from tapetum.engines.scan.trackers import Context, SeenBatch, State, Tracker
from tapetum.keeping.provenance import sha256
from tapetum.types.dictionaries import Dictionary


@dataclass(frozen=True)
class Coded:
    """The statistic of another tracker over the codes of a dictionary: one unit a concept."""

    tracker: Tracker
    dictionary: Dictionary = field(repr=False)
    digest: str = field(default="", init=False)

    def __post_init__(self) -> None:
        one = self.dictionary  # the key of a kept scan is made of fields as texts, in which long tensors look alike
        parts = [sha256(part) for part in (one.directions, one.offset, one.encoder, one.bias)]
        object.__setattr__(self, "digest", f"{one.code} {one.active} {' '.join(parts)}")

    def start(self, channels: int) -> State:
        return self.tracker.start(len(self.dictionary))

    def update(self, state: State, seen: SeenBatch) -> State:
        wide = torch.promote_types(seen.maps.dtype, torch.float32)
        return self.tracker.update(state, SeenBatch(code_maps(self.dictionary, seen.maps.to(wide)), seen.samples))

    def merge(self, a: State, b: State) -> State:
        return self.tracker.merge(a, b)

    def result(self, state: State, context: Context) -> Any:
        return self.tracker.result(state, context)
