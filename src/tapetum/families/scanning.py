"""The border of the scan: a model, a data set and what to keep, as people give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tapetum.border.methods import as_model
from tapetum.data.streams import as_source
from tapetum.engines.scan import FolderLedger, Job, Ledger, ParquetLedger, Plan, Runner, Threads
from tapetum.engines.scan import scan as run_scan
from tapetum.engines.scan.plan import SHARD
from tapetum.engines.scan.trackers import Tracker
from tapetum.models.vision_model import VisionModel
from tapetum.notes import noting
from tapetum.types import ModelLike, ScanResult, TapetumError

BATCH = 16
"""Pictures a pass: fixed, since the make-up of a batch decides the last bits."""


def scan(
    model: ModelLike,
    source: Any,
    trackers: Mapping[str, Tracker | Sequence[Tracker]],
    *,
    workers: int | None = None,
    run: Runner | None = None,
    out: str | Path | Ledger | None = None,
    resume: bool = True,
    batch: int = BATCH,
    shard: int | None = None,
    limit: int | None = None,
    pre_activation: bool = False,
    precision: Literal["exact", "fast"] = "exact",
) -> ScanResult:
    """What a data set's pictures do to a network's units: one pass over the data, and a result per tracker and layer.

    result[layer][i] is the i-th tracker's; layer names may be globs. A score is the spatial maximum of a unit's map (or the
    mean). The pass ends at the deepest layer; pictures that cannot be read are skipped and listed in `result.skipped`. The
    results are the same to the last bit whatever `workers`, `run` and interruptions, on processors of one kind: passes of
    `batch` pictures in one thread, and trackers whose merges are exact.

    source          a folder, tar shards, "imagenette", "hf:NAME", a list of files, or a Source
    workers         threads, each with a pass of its own; None: one a core
    run             another runner, such as `tapetum.runners.Ray`
    out             a folder, or a URL such as "s3://bucket/scan", for finished shards: a run that was killed goes on there,
                    with at most one shard a worker lost
    resume          False: what is in `out` is made again
    limit           only so many pictures, from the start
    pre_activation  signed values: what a layer was before the activation function that ends it
    precision       "fast": bfloat16, said in the notes

    Example:
        >>> result = tp.scan(model, folder, {"blocks.3": [tp.Spectrum(k=4)]})
        >>> len([example.id for example in result["blocks.3"][0].maximum(0)])
        4
    """
    network = as_model(model)
    stream = as_source(source)
    plan = Plan(_count(len(stream.ids), limit), batch, shard or max(batch, SHARD // batch * batch))
    if plan.shard % batch:
        raise TapetumError(f"a shard is whole batches: {plan.shard} is no multiple of {batch}")
    if precision not in ("exact", "fast"):
        raise TapetumError(f'precision is "exact" or "fast", not {precision!r}')
    ledger = ledger_of(out)
    with noting() as said:
        listed = _listed(network, trackers)
    job = Job(network, stream, listed, plan, pre_activation, precision, ledger)
    if workers is not None and run is not None:
        raise TapetumError("workers is for this computer's threads; a runner brings its own number")
    result = run_scan(job, run or Threads(workers), resume=resume)
    return replace(result, notes=(*result.notes, *said)) if said else result


def ledger_of(out: str | Path | Ledger | None) -> Ledger | None:
    """Where finished shards go: a folder, Parquet files at a URL, or a ledger as it is."""
    if isinstance(out, str) and "://" in out:
        return ParquetLedger(out)
    return FolderLedger(out) if isinstance(out, str | Path) else out


def _count(pictures: int, limit: int | None) -> int:
    if limit is not None and limit < 1:
        raise TapetumError(f"limit must be at least 1, not {limit}")
    return pictures if limit is None else min(pictures, limit)


def _listed(model: VisionModel, trackers: Mapping[str, Tracker | Sequence[Tracker]]) -> dict[str, tuple[Tracker, ...]]:
    """layer -> its trackers; globs spelled out, in the order of the network."""
    found: dict[str, tuple[Tracker, ...]] = {}
    for pattern, many in trackers.items():
        each = tuple(many) if isinstance(many, Sequence) else (many,)
        if not each:
            raise TapetumError(f"no tracker for {pattern}; give some, such as Spectrum(k=9)")
        for layer in model.find_layers([pattern]):
            found[layer] = (*found.get(layer, ()), *each)
    if not found:
        raise TapetumError("nothing to scan: give {layer: [trackers]}, such as {'layer4': [Spectrum(k=9)]}")
    return found
