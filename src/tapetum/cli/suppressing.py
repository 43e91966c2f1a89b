"""`tapetum suppress DATA --model M`: audits a model, edits a copy so that it follows a cue no longer, and writes the patch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import tapetum
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice
from tapetum.cli.terminal import bar, remark, say
from tapetum.data.streams import as_source
from tapetum.families.audits.repairs import Repair
from tapetum.figures import show
from tapetum.keeping.provenance import now
from tapetum.progress import watching
from tapetum.reports.machine import write_json
from tapetum.reports.provenance import of_model, write_figure
from tapetum.store import save
from tapetum.types import MethodError, Suspicion
from tapetum.types.text import split_names

PATCH, PICTURE, RESULT = "patch.safetensors", "repair.png", "repair"


def suppress_cue(
    *, data: str, model: ModelChoice, cue: str | None, label: str | None, out: Path, keywords: dict[str, Any]
) -> int:
    """Suppresses a cue; returns status 0, or 1 where the edit is not enough or there is nothing to suppress."""
    folder = checked_folder(out)
    source, network, started = as_source(data), model.load(), now()
    shared = {name: keywords[name] for name in ("masks", "n", "seed")}
    with bar("audit") as watcher, watching(watcher):
        audit = tapetum.audit(network, source, **shared)
    chosen = _chosen(audit, cue, label)
    if not chosen:
        say(str(audit))
        remark("there is nothing to suppress")
        return 1
    say("\n".join(map(str, chosen)))
    with bar("suppress") as watcher, watching(watcher):
        repair = tapetum.suppress(network, chosen, source=source, **keywords)
    facts = {**of_model(network), "method": "suppress", "parameters": {**keywords, "data": data}, "started": started}
    with complete(folder) as work:
        _write(work, repair, facts)
    say(str(repair))
    for sentence in repair.notes:
        remark(sentence)
    say(f"{out / PATCH}: the same model with it is --model {model.name} --weights {out / PATCH}")
    return 0 if repair.reached else 1


def _chosen(audit: Any, cue: str | None, label: str | None) -> tuple[Suspicion, ...]:
    """Returns the suspicions that were named: the first of all or of a cue; of a class, of several, or all of one cue."""
    found: tuple[Suspicion, ...] = audit.suspicions
    if cue is not None and cue not in audit.effects:
        raise MethodError(f"no cue '{cue}' is moved; there are: {', '.join(audit.effects)}")
    wanted = None if label in (None, "all") else set(split_names(label))
    if wanted is not None and (unknown := wanted - set(audit.classes)):
        raise MethodError(f"no class '{min(unknown)}'; there are: {', '.join(audit.classes[:8])}")
    fit = [one for one in found if cue in (None, one.kind) and (wanted is None or one.label in wanted)]
    if found and not fit:
        there = "; ".join(f"{one.kind} of '{one.label}'" for one in found[:6])
        raise MethodError(f"the audit has no such suspicion; it has {there}")
    first = [one for one in fit if one.kind == fit[0].kind]
    return tuple(first if label is not None else first[:1])


def _write(work: Path, repair: Repair, facts: dict[str, Any]) -> None:
    repair.patch.write(work / PATCH)
    write_figure(work / PICTURE, show(repair), facts)
    save(repair, work / RESULT)
    effects = {
        name: {key: _plain(one) for key, one in asdict(getattr(repair, name)).items()} for name in ("predicted", "measured")
    }
    said = {"reached": repair.reached, "outcome": repair.outcome, "said": repair.said}
    content = {
        "images": [{"picture": PICTURE, "result": RESULT}],
        "patch": PATCH,
        "cue": repair.kind,
        "labels": list(repair.labels),
        "classes": list(repair.classes),
        "attempts": [asdict(one) for one in repair.attempts],
        "made_from": dict(repair.patch.made_from),
    }
    write_json(work / "report.json", {**facts, **content, **effects, **said, "notes": list(repair.notes)})


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
