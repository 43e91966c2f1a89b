"""`tapetum compare A B DATA`: two networks side by side: a page, the arrays, JSON, and a JUnit file and status for CI."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tapetum.cli.folders import checked_folder, complete, placed
from tapetum.cli.models import ModelChoice
from tapetum.cli.outputs import say_result, write_result
from tapetum.cli.terminal import bar, remark, telling
from tapetum.data.streams import as_source
from tapetum.families.comparing.comparing import compare
from tapetum.keeping.provenance import now
from tapetum.models.vision_model import VisionModel
from tapetum.progress import watching
from tapetum.reports.comparing import as_json, page, write_junit
from tapetum.reports.machine import write_json
from tapetum.reports.provenance import of_model
from tapetum.types import Comparison, ModelError, TapetumError

WEIGHTS = (".pth", ".pt", ".ckpt", ".safetensors", ".bin")
AUTO = "auto"


def compare_folder(
    *,
    a: str,
    b: str,
    data: str,
    null: Sequence[str] | None,
    fail_below: str | None,
    junit: Path | None,
    model: ModelChoice | None,
    out: Path,
    as_json_: bool,
    keywords: dict[str, Any],
) -> int:
    """Compares two networks; returns 0, or 1 below the bar (without a bar: if pictures were skipped), 2 if nothing is known."""
    least = _least(fail_below)
    folder, report = checked_folder(out), None if junit is None else placed(junit)
    source = as_source(data)
    networks = [_loaded(name, model) for name in (a, b, *(null or ()))]
    given: Any = networks[2:] or ("twins" if fail_below == AUTO else None)
    started, begun = now(), time.perf_counter()
    with bar("compare") as watcher, watching(telling(watcher, "twins")):
        found = compare(networks[0], networks[1], source, null=given, below=least, **keywords)
    asked = [word for name, value in (("--fail-if-agreement-below", fail_below),) if value for word in (name, value)]
    asked += [word for name in null or () for word in ("--null", name)]
    command = shlex.join(["tapetum", "compare", a, b, data, *asked])
    facts = {"compared": [of_model(one) for one in networks[:2]], "method": "compare", "parameters": {**keywords, "data": data}}
    _write(folder, found, {**facts, "started": started}, command)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        write_junit(report, found, time.perf_counter() - begun)
    say_result(found, f"{found}\nreport: {out / 'report.html'}", folder / "report.json", as_json=as_json_)
    return _status(found, fail_below)


def _status(found: Comparison, fail_below: str | None) -> int:
    if fail_below is None:
        return 1 if found.skipped else 0
    if found.below is None:
        remark("the agreement cannot be held against a bar; see the verdict")
        return 2
    return int(found.below)


def _least(text: str | None) -> float | None:
    """Reads --fail-if-agreement-below: auto, or a number from -1 to 1."""
    if text is None or text == AUTO:
        return None
    try:
        number = float(text)
    except ValueError:
        number = 9.0
    if not -1 <= number <= 1:
        raise TapetumError(f"--fail-if-agreement-below is auto, or a correlation from -1 to 1, not {text!r}")
    return number


def _loaded(name: str, model: ModelChoice | None) -> VisionModel:
    """Loads a network by its name or folder, or its file of weights into the architecture of --model; its name says which."""
    if not name.lower().endswith(WEIGHTS):
        found = (ModelChoice(name) if model is None else replace(model, name=name, weights=None)).load()
    elif model is None:
        raise ModelError(f"{name} is a file of weights: say --model ARCHITECTURE, into which it is loaded")
    else:
        found = replace(model, weights=name).load()
    found.name = Path(name).stem if name.lower().endswith(WEIGHTS) or Path(name).is_dir() else name
    return found


def _write(folder: Path, found: Comparison, facts: Mapping[str, Any], command: str) -> None:
    with complete(folder) as work:
        pictures = write_result(work, "comparison", found, facts)
        page(work / "report.html", found, command)
        write_json(work / "report.json", {**facts, "images": pictures, **as_json(found)})
