"""Collects an atlas's provenance and notes for its reader, which its manifest and its front page show."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping
from typing import Any

from tapetum.atlas import sprites
from tapetum.engines.scan import Job
from tapetum.engines.scan.scan import key_of
from tapetum.keeping.provenance import versions
from tapetum.types import ScanResult

SCORE = "spatial maximum"


def about(job: Job, result: ScanResult) -> dict[str, Any]:
    model, source = job.model, job.source
    shape = model.preprocessing
    return {
        "title": f"{model.name} on {source.name}",
        "model": {
            "name": model.name,
            "source": model.source,
            "classes": None if model.labels is None else len(model.labels),
            "weights": model.weights,
            "settings": model.settings,
            "weights_sha256": model.weights_sha256,
            "sees": shape.describe(),
            "size": list(shape.size),
        },
        "data": {
            "name": source.name,
            "pictures": len(next(iter(result.values()))[1].samples),
            "fingerprint": source.fingerprint(),
        },
        "made": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": versions(),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "score": SCORE,
        "settings": key_of(job).facts,
        "taps": dict(result.taps),
        "units": {name: found[0].channels for name, found in result.items()},
        "skipped": dict(result.skipped),
        "notes": notes(job, result),
    }


def notes(job: Job, result: ScanResult) -> list[str]:
    said = list(result.notes)
    before = [layer for layer, tap in result.taps.items() if tap == "pre-activation"]
    if before:
        which = "all layers" if len(before) == len(result.taps) else ", ".join(before)
        said.append(f"Values of {which} are those before the activation function that ends the layer, so they have a sign.")
    if result.images > sprites.MOST:
        said.append(f"{sprites.MOST:,} of {result.images:,} pictures are shown: the examples, and others from the start.")
    if len(job.source.ids) > job.plan.count:
        said.append(f"Only the first {job.plan.count:,} pictures were scanned.")
    return said


def all_notes(about: Mapping[str, Any]) -> list[str]:
    """Returns the notes of the scan and of the parts of the atlas that could not be made, as sentences."""
    rendered, mapped = about.get("not_rendered", {}), about.get("not_mapped", {})
    named = [f"Units have no names: {about['not_named']}."] if about.get("not_named") else []
    said = [f"Units of {layer} are not rendered: {reason}" for layer, reason in rendered.items()]
    return [*about["notes"], *named, *said, *(f"There is no map of {layer}: {reason}" for layer, reason in mapped.items())]
