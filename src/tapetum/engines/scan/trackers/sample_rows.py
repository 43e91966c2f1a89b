"""Joins tables with rows by sample; rows are sorted by sample, so that tables are equal for any order of merging."""

from __future__ import annotations

import torch

from tapetum.engines.scan.trackers.base import State

SAMPLES = "samples"


def merged(a: State, b: State) -> State:
    """Joins the rows of two tables that have no sample in common, sorted by sample; rows of one sample keep their order."""
    if not len(a[SAMPLES]) or not len(b[SAMPLES]):
        return dict(b if len(b[SAMPLES]) else a)
    first, second = (a, b) if int(a[SAMPLES][-1]) < int(b[SAMPLES][0]) else (b, a)
    both = {name: torch.cat([first[name], second[name]]) for name in first}
    if int(first[SAMPLES][-1]) < int(second[SAMPLES][0]):
        return both
    samples, order = both[SAMPLES].sort(stable=True)
    return {name: samples if name == SAMPLES else rows[order] for name, rows in both.items()}
