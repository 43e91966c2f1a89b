"""`tapetum shape-texture DATA --model M`: which cue a network answers: a figure, the numbers, and words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapetum.cli.batches import say_skipped
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice
from tapetum.cli.outputs import write_result
from tapetum.cli.terminal import bar, remark, say
from tapetum.data.streams import as_source
from tapetum.families.cues import shape_or_texture
from tapetum.keeping.provenance import now
from tapetum.progress import watching
from tapetum.reports.machine import nan_as_null, write_json
from tapetum.reports.provenance import of_model


def answer_cues(*, data: str, model: ModelChoice, out: Path, keywords: Mapping[str, Any]) -> int:
    """Asks a network about all pictures of a folder; returns status 0, or 1 if pictures could not be read."""
    folder = checked_folder(out)
    source, network, started = as_source(data), model.load(), now()
    with bar("shape-texture") as watcher, watching(watcher):
        found = shape_or_texture(network, source, **keywords)
    facts = {**of_model(network), "method": "shape_or_texture", "parameters": {**keywords, "data": data}, "started": started}
    with complete(folder) as work:
        numbers = {
            "said": found.said(),
            "counts": found.counts,
            "shape_bias": found.bias,
            "interval": list(found.interval),
            "rank_bias": found.rank_bias,
            "rank_interval": list(found.rank_interval),
            "by_category": found.by_category,
            "skipped": dict(found.skipped),
        }
        pictures = write_result(work, "cues", found, facts)
        write_json(work / "report.json", {**facts, **nan_as_null(numbers), "images": pictures})
    say(str(found))
    for sentence in found.notes:
        remark(sentence)
    say(str(out / "cues.png"))
    say_skipped(found.skipped.items(), "report.json")
    return 1 if found.skipped else 0
