"""Parts of a scan: the result of a shard, and the states of its trackers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tapetum.engines.scan.trackers import State

Tick = Callable[[int], None]
"""Called with a number of pictures whenever so many are done."""

States = dict[str, list[State]]
"""{layer: the state of each of its trackers}."""


@dataclass(frozen=True, eq=False)
class ShardResult:
    """The states of a shard (left out where a ledger has them), skipped pictures, seconds, and the processor that computed it
    ("" where an earlier version did not note it)."""

    shard: int
    states: States
    skipped: Mapping[int, str] = field(default_factory=dict[int, str])
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    processor: str = ""
