"""`tapetum concepts DATA --layer L`: the concepts of a layer: a figure, the arrays, JSON, and words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice
from tapetum.cli.outputs import say_result, write_result
from tapetum.cli.terminal import STOPPED, bar, fail
from tapetum.data.streams import as_source
from tapetum.families.dictionaries.concepts import concepts
from tapetum.keeping.provenance import now
from tapetum.progress import watching
from tapetum.reports.machine import write_json
from tapetum.reports.provenance import of_model
from tapetum.types import Cancelled, Concepts


def find_concepts(
    *, data: str, layer: str, model: ModelChoice, out: Path, kept: Path | None, as_json: bool, keywords: dict[str, Any]
) -> int:
    """Finds the concepts of a layer and writes them; returns status 0."""
    folder = checked_folder(out)
    source, network, started = as_source(data), model.load(), now()
    try:
        with bar("concepts") as watcher, watching(watcher):
            found = concepts(network, source, layer, out=kept, **keywords)
    except (KeyboardInterrupt, Cancelled):
        fail(f"stopped; {'the same command goes on' if kept else 'with --kept FOLDER a stopped run could go on'}")
        raise SystemExit(STOPPED) from None
    parameters = {**keywords, "data": data, "layer": found.layer}
    facts = {**of_model(network), "method": "concepts", "parameters": parameters, "started": started}
    _write(folder, found, facts)
    say_result(found, f"{found}\n{out / 'concepts.png'}", folder / "report.json", as_json=as_json)
    return 0


def _write(folder: Path, found: Concepts, facts: Mapping[str, Any]) -> None:
    with complete(folder) as work:
        pictures = write_result(work, "concepts", found, facts)
        write_json(work / "report.json", {**facts, "images": pictures, **as_table(found)})


def as_table(found: Concepts) -> dict[str, Any]:
    """Returns the numbers of a result as JSON types."""
    several = {"numbers": found.numbers, "null": found.null}
    named = {name: {part: getattr(one, part) for part in ("r2", "l0", "dead", "agreement")} for name, one in several.items()}
    rows = [
        {
            "name": one.name,
            "agreement": float(found.agreement[i]),
            "importance": None if found.importance is None else float(found.importance[i]),
            "interval": None if found.spread is None else found.spread[i].tolist(),
            "examples": [{"id": one.id, "score": one.score, "position": one.position} for one in found.examples[i]],
        }
        for i, one in enumerate(found.concepts)
    ]
    about = {"verdict": found.verdict, "shuffled": found.shuffled, "measure": found.measure, "target": found.target}
    return {**about, **named, "pictures": found.n, "concepts": rows}
