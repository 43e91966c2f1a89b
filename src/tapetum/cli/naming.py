"""`tapetum name DATA --model M --layer L`: names of a layer's units, or of concepts, in words, as a figure, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice
from tapetum.cli.outputs import say_result, write_result
from tapetum.cli.terminal import bar
from tapetum.data.streams import as_source
from tapetum.families.naming.naming import name_units
from tapetum.files import shown
from tapetum.keeping.provenance import now
from tapetum.progress import watching
from tapetum.reports.machine import nan_as_null, write_json
from tapetum.reports.provenance import of_model
from tapetum.store import open as open_saved
from tapetum.types import Concepts, MethodError, UnitNames


def name_layer(
    *,
    data: str,
    layer: str | None,
    concepts: Path | None,
    model: ModelChoice,
    out: Path,
    as_json: bool,
    keywords: Mapping[str, Any],
) -> int:
    """Names the units of a layer, or saved concepts; returns status 0, or 1 if pictures could not be read."""
    if (layer is None) == (concepts is None):
        raise MethodError("give --layer, whose units get names, or --concepts, the folder of `tapetum concepts`")
    folder = checked_folder(out)
    named = layer if concepts is None else _saved_concepts(concepts)
    source, network, started = as_source(data), model.load(), now()
    with bar("name") as watcher, watching(watcher):
        found = name_units(network, source, named, **keywords)
    where = {"layer": found.layer} if concepts is None else {"concepts": str(concepts)}
    parameters = {**keywords, "data": data, **where}
    facts = {**of_model(network), "method": "name_units", "parameters": parameters, "started": started}
    with complete(folder) as work:
        pictures = write_result(work, "names", found, facts)
        write_json(work / "report.json", {**facts, **nan_as_null(_numbers(found)), "images": pictures})
    say_result(found, f"{found}\n{out / 'names.png'}", folder / "report.json", as_json=as_json)
    return 1 if found.skipped else 0


def _saved_concepts(folder: Path) -> Concepts:
    """Returns the concepts that `tapetum concepts` or `tp.save` wrote."""
    inner = folder / "concepts"
    found = open_saved(inner if inner.is_dir() else folder)
    if not isinstance(found, Concepts):
        raise MethodError(f"{shown(folder)} holds a {type(found).__name__}, and no concepts")
    return found


def _numbers(found: UnitNames) -> dict[str, Any]:
    """Returns what report.json tells of every unit."""
    kind, named = ("unit", found.units) if found.concepts is None else ("concept", found.concepts)
    columns = zip(named, found.names, found.candidates, found.auc.tolist(), found.p_values.tolist(), strict=True)
    return {
        "said": found.said(),
        found.kind: [
            {kind: one, "name": name, "candidate": candidate, "auc": auc, "p": p} for one, name, candidate, auc, p in columns
        ],
        "skipped": dict(found.skipped),
    }
