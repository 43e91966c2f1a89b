"""Runners that share the shards of a scan among several processes: ranks of torchrun or SLURM, and Ray.

    tp.scan(model, source, trackers, out="scan", run=tapetum.runners.Ranks())
    tp.scan(model, source, trackers, run=tapetum.runners.Ray("auto"))

Runners are imported when first used, since the command line imports `keep_large_blocks` from here at every start.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tapetum.runners.allocator import keep_large_blocks

if TYPE_CHECKING:
    from tapetum.runners.ranks import Ranks
    from tapetum.runners.ray_actors import Ray

__all__ = ["Ranks", "Ray", "keep_large_blocks"]

_HOMES = {"Ranks": "tapetum.runners.ranks", "Ray": "tapetum.runners.ray_actors"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tapetum.runners' has no attribute '{name}'")
