"""Scans: one pass over a data set that records how the units of a network respond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tapetum.border.methods import survey
from tapetum.border.sentences import Limit, OtherRunner, PassBatch, Resume, ShardFolder, Workers
from tapetum.data.streams import Source
from tapetum.engines.scan import Scanning
from tapetum.engines.scan.plan import BATCH
from tapetum.engines.scan.trackers import Tracker
from tapetum.models.vision_model import VisionModel
from tapetum.types import Precision, ScanResult, TapetumError


@survey()
def scan(
    model: VisionModel,
    source: Source,
    trackers: Mapping[str, Tracker | Sequence[Tracker]],
    *,
    workers: Workers = None,
    run: OtherRunner = None,
    out: ShardFolder = None,
    resume: Resume = True,
    batch: PassBatch = BATCH,
    shard: int | None = None,
    limit: Limit = None,
    pre_activation: bool = False,
    precision: Precision = "exact",
) -> ScanResult:
    """Statistics of a network's units over a data set: one pass over the data, and a result per tracker and layer.

    result[layer][i] = the i-th tracker's; layer names may be globs. A score is the spatial maximum of a unit's map (or the
    mean). The pass ends at the deepest layer; pictures that cannot be read are skipped and listed in `result.skipped`. The
    results are the same to the last bit whatever `workers`, `run` and interruptions, on processors of one kind: passes of
    `batch` pictures in one thread, and trackers whose merges are exact. The source is a folder, tar shards, "imagenette",
    "hf:NAME", a list of files, or a Source.

    Args:
        shard: pictures per shard, a multiple of `batch`; None: 64, or `batch`.
        pre_activation: signed values: what a layer was before the activation function that ends it.

    Example:
        >>> result = tp.scan(model, folder, {"blocks.3": [tp.Spectrum(k=4)]})
        >>> len([example.id for example in result["blocks.3"][0].maximum(0)])
        4
    """
    how = Scanning(workers, run, out, resume, limit, batch, shard)
    return how.scan(how.job(model, source, _listed(model, trackers), pre_activation=pre_activation, precision=precision))


def _listed(model: VisionModel, trackers: Mapping[str, Tracker | Sequence[Tracker]]) -> dict[str, tuple[Tracker, ...]]:
    """Returns {layer: its trackers} with globs expanded to layer names, in the order of the network."""
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
