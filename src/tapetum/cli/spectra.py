"""`tapetum spectrum` and `tapetum examples`: for each unit, a figure of pictures of a data set, and the arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tapetum
from tapetum.cli.batches import say_skipped
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice
from tapetum.cli.terminal import bar, one_line, remark, say
from tapetum.data.streams import as_source
from tapetum.figures import show
from tapetum.keeping.provenance import now
from tapetum.progress import watching
from tapetum.reports.machine import write_json
from tapetum.reports.pictures import safe_name, unique
from tapetum.reports.provenance import of_model, write_figure
from tapetum.store import save
from tapetum.types import GROUPS, UnitExamples, UnitSpectrum


def show_units(
    name: str, *, units: list[str], data: str, model: ModelChoice, out: Path, scan: Path | None, keywords: Mapping[str, Any]
) -> int:
    """Writes a figure and arrays per unit, and report.json, all or nothing; returns status 0, or 1 if pictures were skipped."""
    folder = checked_folder(out)
    source, network, started = as_source(data), model.load(), now()
    with bar(name.replace("_", " ")) as watcher, watching(watcher):
        found = getattr(tapetum, name)(network, source, units, out=scan, **keywords)
    about = {
        **of_model(network),
        "method": name,
        "parameters": {**keywords, "out": scan if scan is None else str(scan)},
        "data": {"name": source.name, "sha256": source.fingerprint(), "pictures": found.n, "skipped": len(found.skipped)},
        "started": started,
    }
    with complete(folder) as work:
        rows = list(_written(work, found, about))
        write_json(work / "report.json", {**about, "images": rows, "skipped": dict(found.skipped)})
    for row in rows:
        examples = row["examples"]  # the lowest and the highest score, or the highest alone
        ends = " to ".join(f"{one['score']:.3g}" for one in (*examples.get("minimum", [])[:1], *examples["maximum"][:1]))
        say(f"{one_line(row['unit'])}: {ends}, {out / row['picture']}")
    for words in found.notes:
        remark(words)
    say_skipped(found.skipped.items(), "report.json")
    return 1 if found.skipped else 0


def _written(work: Path, found: Any, about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Writes a figure and a folder of arrays for each unit, and yields the unit's entry of report.json."""
    taken: set[str] = set()
    for i, one in enumerate(found):
        stem = unique(safe_name(one.unit), taken)
        more = {name: getattr(found, name)[i : i + 1] for name in ("crop_px", "receptive_field") if hasattr(found, name)}
        alone = replace(found, units=found.units[i : i + 1], **more)
        row = {"unit": one.unit, "picture": f"{stem}.png", "result": stem, **_numbers(one)}
        write_figure(work / row["picture"], show(alone), {**about, **row})
        save(alone, work / stem)
        yield row


def _numbers(one: UnitSpectrum | UnitExamples) -> dict[str, Any]:
    """Returns the result of a unit without its pictures, as JSON types."""
    if isinstance(one, UnitExamples):
        return {"tap": one.tap, "examples": {"maximum": _listed(one)}}
    scores = one.optimized_scores
    made = None if scores is None else dict(zip(("negative", "positive"), scores.tolist(), strict=True))
    examples = {group: _listed(one.examples(group)) for group in GROUPS}
    return {"tap": one.tap, "around": one.around, "threshold": one.threshold, "optimized": made, "examples": examples}


def _listed(examples: UnitExamples) -> list[dict[str, Any]]:
    return [{"id": one.id, "score": one.score, "position": one.position} for one in examples.examples]
