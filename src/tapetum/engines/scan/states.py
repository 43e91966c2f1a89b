"""Checks whether the states in a shard's file can have come from that shard's pictures; if not, the shard is computed again.

A file with a correct checksum can still hold nonsense, if another program wrote it. States of tapetum's own trackers are
checked in detail; for any tracker, merging a state with an empty one must leave it unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tapetum.engines.scan.job import Job
from tapetum.engines.scan.shards import ShardResult, States
from tapetum.engines.scan.trackers import Context, State, Tracker, ranking
from tapetum.engines.scan.trackers.coactivation import SUMS
from tapetum.types import DamagedError

COUNTED = ("n", "pictures")
"""Names of tensors that count pictures in the states of tapetum's trackers; sample numbers are in "samples" and "...key"."""

LEVELS = ("levels", *SUMS)


def check(job: Job, result: ShardResult, shard: int, empty: States, contexts: Mapping[str, Context] | None = None) -> None:
    """Raises a `DamagedError` for states that this shard cannot have; with `contexts` also for states that give no result."""
    if result.shard != shard or not result.skipped.keys() <= set(job.plan.samples(shard)):
        raise DamagedError(f"shard {shard} is damaged: it says that it is another one")
    if result.states.keys() != empty.keys():
        raise DamagedError(f"shard {shard} is damaged: it holds states of other layers")
    for layer, trackers in job.trackers.items():
        states = result.states[layer]
        if len(states) != len(trackers):
            raise DamagedError(f"shard {shard} is damaged: {len(states)} states of {layer}, not {len(trackers)}")
        for tracker, state, nothing in zip(trackers, states, empty[layer], strict=True):
            wrong = _wrong(tracker, state, nothing, job.plan.samples(shard)) or _no_result(tracker, state, contexts, layer)
            if wrong:
                raise DamagedError(f"shard {shard} is damaged: {wrong} in what {type(tracker).__name__} kept of {layer}")


def _wrong(tracker: Tracker, state: State, nothing: State, samples: range) -> str:
    if state.keys() != nothing.keys():
        return "other tables"
    if type(tracker).__module__.startswith("tapetum."):  # other trackers may keep anything
        for name, tensor in state.items():
            wrong = _misshapen(tensor, nothing[name]) or _outside(name, tensor, samples)
            if wrong:
                return f"{wrong} under {name!r}"
        if _is_uneven(state, nothing):
            return "tables of unequal lengths"
    try:
        merged = tracker.merge(nothing, state)
    except Exception as error:  # whatever torch makes of tables that do not fit together
        return f"tables that do not fit together ({type(error).__name__})"
    same = merged.keys() == state.keys() and all(_equal(merged[name], one) for name, one in state.items())
    return "" if same else "tables that merging changes"


def _misshapen(tensor: Tensor, nothing: Tensor) -> str:
    """Describes a table of impossible type or shape, else ""; a first axis of 0 may grow, and other axes may become shorter."""
    if tensor.dtype != nothing.dtype or tensor.ndim != nothing.ndim:
        return f"{tensor.dtype} with {tensor.ndim} axes"
    sides = enumerate(zip(tensor.shape, nothing.shape, strict=True))
    fine = all(side == start or (axis == 0 and start == 0) or (axis and side < start) for axis, (side, start) in sides)
    return "" if fine else f"a table of shape {tuple(tensor.shape)}"


def _is_uneven(state: State, nothing: State) -> bool:
    """Checks whether tables that should have a row per picture each, or a row per level each, have unequal lengths."""
    grown = [name for name, start in nothing.items() if start.shape[0] == 0]
    levels = {len(state[name]) for name in grown if name in LEVELS}
    return len(levels) > 1 or len({len(state[name]) for name in grown if name not in LEVELS}) > 1


def _outside(name: str, tensor: Tensor, samples: range) -> str:
    """Describes NaN, impossible numbers of pictures, or samples of other shards in a table; "" if there are none."""
    if tensor.is_floating_point() and bool(tensor.isnan().any()):
        return "NaN"
    if name in COUNTED and not 0 <= int(tensor) <= len(samples):
        return "a number of pictures that it has not"
    if name == "samples" or name.endswith("key"):
        found = tensor if name == "samples" else ranking.split(tensor)[1][tensor != ranking.NOTHING]
        if found.numel() and not (samples.start <= int(found.min()) and int(found.max()) < samples.stop):
            return "pictures that are not its own"
    return ""


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def _no_result(tracker: Tracker, state: State, contexts: Mapping[str, Context] | None, layer: str) -> str:
    if contexts is None:
        return ""
    try:
        tracker.result(state, contexts[layer])
    except Exception as error:  # such as a root of a negative number
        return f"numbers that give no result ({type(error).__name__})"
    return ""
