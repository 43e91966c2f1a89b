"""Time two ways to the same answer in turn, and say how many times quicker ours is."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor


@dataclass(frozen=True)
class Pair:
    """Two callables that must give equal maps.

    target      how many times quicker ours should be
    tolerance   largest difference of the maps, relative to the largest magnitude of the peer's
    runs        timed runs of each; the first round is not counted unless it is the only one
    """

    name: str
    peer_name: str
    ours: Callable[[], Tensor]
    peer: Callable[[], Tensor]
    target: float
    tolerance: float
    runs: int = 5


@dataclass(frozen=True)
class Row:
    pair: Pair
    ours_s: float
    peer_s: float
    ours_bytes: int
    peer_bytes: int
    difference: float

    @property
    def ratio(self) -> float:
        return self.peer_s / self.ours_s

    @property
    def reached(self) -> bool:
        return self.ratio >= self.pair.target


def measure(pair: Pair) -> Row:
    """Medians of runs in turn, so that a machine that drifts drifts for both."""
    ours: list[float] = []
    peers: list[float] = []
    memory = [0, 0]
    a = b = None
    for _ in range(pair.runs + (pair.runs > 1)):
        seconds, a, extra = _timed(pair.ours)
        ours.append(seconds)
        memory[0] = max(memory[0], extra)
        seconds, b, extra = _timed(pair.peer)
        peers.append(seconds)
        memory[1] = max(memory[1], extra)
    assert a is not None
    assert b is not None
    skip = 1 if pair.runs > 1 else 0
    difference = float((a - b).abs().max() / b.abs().max())
    if not difference <= pair.tolerance:
        raise AssertionError(
            f"{pair.name}: the maps differ from {pair.peer_name}'s by {difference:.1e}, allowed {pair.tolerance:.0e}"
        )
    return Row(pair, statistics.median(ours[skip:]), statistics.median(peers[skip:]), *memory, difference)


def _timed(work: Callable[[], Tensor]) -> tuple[float, Tensor, int]:
    with _Peak() as peak:
        start = time.perf_counter()
        result = work().detach()
        seconds = time.perf_counter() - start
    return seconds, result, peak.extra


class _Peak:
    """How far the resident memory rises above its start, sampled every 5 ms (Linux; elsewhere 0)."""

    def __enter__(self) -> _Peak:
        self.start = self.most = resident_bytes()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.stop.wait(0.005):
            self.most = max(self.most, resident_bytes())

    @property
    def extra(self) -> int:
        return max(0, self.most - self.start)


def resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0


def table(rows: list[Row]) -> str:
    """One line a pair: seconds, ratio and its target, extra memory, difference of the maps."""
    head = f"{'work':34} {'peer':9} {'ours s':>9} {'peer s':>9} {'ratio':>7} {'target':>7} "
    head += f"{'ours MB':>8} {'peer MB':>8} {'differ':>8}"
    return "\n".join([head, *map(_line, rows)])


def _line(row: Row) -> str:
    mark = "" if row.reached else "  below target"
    return (
        f"{row.pair.name:34} {row.pair.peer_name:9} {row.ours_s:9.3f} {row.peer_s:9.3f} {row.ratio:6.1f}x "
        f"{row.pair.target:6.1f}x {row.ours_bytes / 1e6:8.0f} {row.peer_bytes / 1e6:8.0f} {row.difference:8.1e}{mark}"
    )
