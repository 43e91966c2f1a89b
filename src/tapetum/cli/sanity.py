"""`tapetum sanity-check IMAGE...`: whether the maps of methods depend on the weights: a figure, the arrays, and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tapetum.border.texts import names_in
from tapetum.cli.batches import images_of, listed_refusals, readable, status
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice, as_target
from tapetum.cli.terminal import bar, remark, say, telling
from tapetum.families.sanity import sanity_check
from tapetum.figures import show
from tapetum.keeping.provenance import now
from tapetum.progress import watching
from tapetum.reports.machine import write_json
from tapetum.reports.provenance import of_model, write_figure
from tapetum.store import save


def check_files(
    *, images: Sequence[str], methods: str, target: str | None, model: ModelChoice, out: Path, keywords: Mapping[str, Any]
) -> int:
    """Checks methods on all readable images; returns exit status 0, 1 if some images were refused, 2 if nothing was done."""
    folder, names = checked_folder(out), names_in("methods", methods)
    files, refused = images_of(images)
    network, started = model.load(), now()

    files, unread = readable(files, network.preprocessing)
    refused += unread
    if not files:
        return 2
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
        write_figure(work / "sanity.png", show(found), facts)
        save(found, work / "sanity")
        pictures = [{"files": files, "picture": "sanity.png", "result": "sanity"}]
        content = {**facts, "verdicts": verdicts, "images": pictures, "refused": listed_refusals(refused)}
        write_json(work / "report.json", content)
    say(str(found))
    for sentence in found.notes:
        remark(sentence)
    say(str(out / "sanity.png"))
    return status(["done"], refused)
