"""Data types of a scan: the result of a shard, and the states of its trackers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tapetum.engines.scan.trackers import State

Tick = Callable[[int], None]
"""Function that is called with the number of pictures done since its last call."""

States = dict[str, list[State]]
"""{layer: the state of each of its trackers}."""


@dataclass(frozen=True, eq=False)
class ShardResult:
    """Result of one shard.

    states     states of the trackers; empty where they were written to a ledger instead
    skipped    {sample: why the picture was left out}
    seconds    {kind of work: seconds spent on it}
    processor  the processor that computed the shard; "" if unknown
    """

    shard: int
    states: States
    skipped: Mapping[int, str] = field(default_factory=dict[int, str])
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    processor: str = ""
