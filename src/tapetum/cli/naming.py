"""`tapetum name DATA --model M --layer L`: names of a layer's units in words, as a figure, and as JSON."""

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
from tapetum.keeping.provenance import now
from tapetum.progress import watching
from tapetum.reports.machine import nan_as_null, write_json
from tapetum.reports.provenance import of_model
from tapetum.types import UnitNames


def name_layer(*, data: str, layer: str, model: ModelChoice, out: Path, as_json: bool, keywords: Mapping[str, Any]) -> int:
    """Names the units of a layer; returns status 0, or 1 if pictures could not be read."""
    folder = checked_folder(out)
    source, network, started = as_source(data), model.load(), now()
    with bar("name") as watcher, watching(watcher):
        found = name_units(network, source, layer, **keywords)
    parameters = {**keywords, "data": data, "layer": layer}
    facts = {**of_model(network), "method": "name_units", "parameters": parameters, "started": started}
    with complete(folder) as work:
        pictures = write_result(work, "names", found, facts)
        write_json(work / "report.json", {**facts, **nan_as_null(_numbers(found)), "images": pictures})
    say_result(found, f"{found}\n{out / 'names.png'}", folder / "report.json", as_json=as_json)
    return 1 if found.skipped else 0


def _numbers(found: UnitNames) -> dict[str, Any]:
    """Returns what report.json tells of every unit."""
    columns = zip(found.units, found.names, found.candidates, found.auc.tolist(), found.p_values.tolist(), strict=True)
    return {
        "said": found.said(),
        "units": [
            {"unit": unit, "name": name, "candidate": candidate, "auc": auc, "p": p}
            for unit, name, candidate, auc, p in columns
        ],
        "skipped": dict(found.skipped),
    }
