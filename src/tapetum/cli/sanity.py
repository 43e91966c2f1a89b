"""`tapetum sanity-check IMAGE...`: whether the maps of methods depend on the weights: a figure, the arrays, and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tapetum.border.texts import names_in
from tapetum.cli.batches import listed_refusals, opened, status
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice, as_target
from tapetum.cli.outputs import write_result
from tapetum.cli.terminal import bar, remark, say, telling
from tapetum.families.sanity import sanity_check
from tapetum.keeping.provenance import now
from tapetum.progress import watching
from tapetum.reports.machine import write_json
from tapetum.reports.provenance import of_model


def check_files(
    *, images: Sequence[str], methods: str, target: str | None, model: ModelChoice, out: Path, keywords: Mapping[str, Any]
) -> int:
    """Checks methods on all readable images; returns exit status 0, 1 if some images were refused, 2 if nothing was done."""
    folder, names = checked_folder(out), names_in("methods", methods)
    network, files, refused = opened(model, images)
    if not files:
        return 2
    started = now()
    about = {} if target is None else {"target": as_target(target)}
    with bar("sanity-check") as watcher, watching(telling(watcher, "networks")):
        found = sanity_check(network, files, names, **about, **keywords)
    facts = {**of_model(network), "method": "sanity_check", "methods": names, "parameters": dict(keywords), "started": started}
    verdicts = [
        {"method": name, "weights": weights, "class": of_class, "picture": picture}
        for name, weights, of_class, picture in zip(
            found.methods, found.verdicts, found.on_class, found.on_pictures, strict=True
        )
    ]
    with complete(folder) as work:
        pictures = write_result(work, "sanity", found, facts, files)
        content = {**facts, "verdicts": verdicts, "images": pictures, "refused": listed_refusals(refused)}
        write_json(work / "report.json", content)
    say(str(found))
    for sentence in found.notes:
        remark(sentence)
    say(str(out / "sanity.png"))
    return status(["done"], refused)
