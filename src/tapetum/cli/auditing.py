"""`tapetum audit DATA --model M`: whether a classifier cheats: a report, the numbers for other programs, a figure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapetum.cli.batches import say_skipped
from tapetum.cli.explaining import model_facts
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice
from tapetum.cli.outputs import write_result
from tapetum.cli.terminal import STOPPED, bar, duration, fail, remark, say
from tapetum.data.streams import as_source
from tapetum.families.audits.auditing import audit
from tapetum.keeping.provenance import now
from tapetum.models.vision_model import VisionModel
from tapetum.progress import Progress, Watcher, watching
from tapetum.reports.audits import content_of, write_audit
from tapetum.reports.machine import write_json
from tapetum.reports.provenance import of_model
from tapetum.types import Audit, Cancelled


def audit_folder(
    *,
    data: str,
    model: ModelChoice,
    out: Path,
    masks: str | None,
    fail_if_shortcut: bool,
    as_json: bool,
    keywords: dict[str, Any],
) -> int:
    """Audits a model on a data set and writes a report; returns status 0, or 1 if pictures were skipped or it should fail."""
    folder = checked_folder(out)
    network, source, started = model.load(), as_source(data), now()
    try:
        with bar("audit") as drawn, watching(_telling(drawn)):
            found = audit(network, source, masks=masks, **keywords)
    except (KeyboardInterrupt, Cancelled):
        fail("stopped: nothing was written")
        raise SystemExit(STOPPED) from None
    parameters = {**keywords, "data": data, "masks": masks}
    facts = {**of_model(network), "method": "audit", "parameters": parameters, "started": started}
    content = _write(folder, found, network, model, facts)
    say(json.dumps(content, indent=1, ensure_ascii=False) if as_json else str(found))
    for sentence in found.notes:
        remark(sentence)
    if not as_json:
        say(str(out / "report.html"))
    say_skipped(found.skipped.items(), "audit.json")
    return 1 if found.skipped or (fail_if_shortcut and found.suspicions) else 0


def _telling(watcher: Watcher) -> Watcher:
    """Says what each stage will do, and after the first twin how long the others take, also without a bar; passes all on."""
    begun: dict[str, float] = {}

    def watch(event: Progress) -> bool | None:
        stage, now = event.stage or "", time.perf_counter()
        if stage and stage not in begun and " twins: " not in stage:
            begun[stage] = now
            remark(stage if event.unit in stage else f"{stage}: {event.total:,} {event.unit}")
        elif event.unit == "twins" and event.done == 1 and f"{stage} " not in begun:
            begun[f"{stage} "] = now
            remark(f"{stage}: about {duration((now - begun.get(stage, now)) * (event.total - 1))}")
        return watcher(event)

    return watch


def _write(folder: Path, found: Audit, network: VisionModel, model: ModelChoice, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the report, the figure and the saved result, all or nothing; returns the content of audit.json."""
    with complete(folder) as work:
        content = content_of(found, {**facts, "images": write_result(work, "audit", found, facts)})
        write_audit(work / "report.html", found, facts, model_facts(network, ""), model.words)
        write_json(work / "audit.json", content)
    return content
