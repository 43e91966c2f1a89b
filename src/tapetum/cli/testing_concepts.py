"""`tapetum tcav CONCEPT... --random DIR`: whether an answer depends on concepts: a figure, the numbers, and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice, as_target
from tapetum.cli.outputs import write_result
from tapetum.cli.terminal import bar, remark, say
from tapetum.families.concept_tests.tcav import tcav
from tapetum.keeping.provenance import now
from tapetum.progress import watching
from tapetum.reports.machine import nan_as_null, write_json
from tapetum.reports.provenance import of_model
from tapetum.types import MethodError, Tcav


def ask_about_concepts(
    *,
    concepts: Sequence[str],
    random: str,
    images: str | None,
    target: str | None,
    layer: str | None,
    model: ModelChoice,
    out: Path,
    keywords: Mapping[str, Any],
) -> int:
    """Tests concepts, each a folder of pictures; returns status 0."""
    folder, named = checked_folder(out), _named(concepts)
    network, started = model.load(), now()
    asked = None if target is None else as_target(target)
    with bar("tcav") as watcher, watching(watcher):
        found = tcav(network, named, random, asked, layer, images=images, **keywords)
    given = {"concepts": list(concepts), "random": random, "images": images, "target": target, "layer": found.layer}
    facts = {**of_model(network), "method": "tcav", "parameters": {**keywords, **given}, "started": started}
    with complete(folder) as work:
        pictures = write_result(work, "tcav", found, facts)
        write_json(work / "report.json", {**facts, **nan_as_null(_numbers(found)), "images": pictures})
    say(str(found))
    for sentence in found.notes:
        remark(sentence)
    say(str(out / "tcav.png"))
    return 0


def _named(concepts: Sequence[str]) -> dict[str, str]:
    """Returns {name of its folder: concept}; refuses two of one name."""
    named = {Path(one).name or one: one for one in concepts}
    if len(named) < len(concepts):
        raise MethodError(f"two of the concepts {', '.join(concepts)} have one name: rename a folder")
    return named


def _numbers(found: Tcav) -> dict[str, Any]:
    columns = {name: getattr(found, name).tolist() for name in ("effect", "score", "accuracy", "p", "p_effect", "p_known")}
    rows = [{"name": name, "outcome": found.outcomes[i]} for i, name in enumerate(found.names)]
    return {"found": [{**row, **{name: column[i] for name, column in columns.items()}} for i, row in enumerate(rows)]}
