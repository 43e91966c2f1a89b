"""`tapetum run METHOD IMAGE...` for inspections: writes one figure of all images and the arrays, prints a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from tapetum.border.running import run
from tapetum.cli.batches import listed_refusals, opened, status
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice, as_target
from tapetum.cli.terminal import bar, remark, say
from tapetum.figures import show
from tapetum.registry import check_parameters, lookup
from tapetum.reports.machine import write_json
from tapetum.reports.provenance import write_figure
from tapetum.store import save


def inspect_files(
    name: str,
    *,
    images: Sequence[str] = (),
    model: ModelChoice,
    target: str | None = None,
    out: Path,
    keywords: Mapping[str, Any],
) -> int:
    """Runs one inspection on all readable images; returns exit status 0, 1 if some were refused, 2 if nothing was done."""
    method = lookup(name)
    check_parameters(method, keywords)
    folder = checked_folder(out)
    network, files, refused = opened(model, images)
    if not files and method.takes != "model":
        return 2
    about = {} if target is None else {"target": as_target(target)}
    with complete(folder) as work:
        with bar(name) as watcher:
            done = run(name, network, files, progress=watcher, **about, **keywords)
        results = done.value if isinstance(done.value, list) else [done.value]
        figures = [f"{name}.png"] if len(results) == 1 else [f"{name}-{i}.png" for i in range(len(results))]
        for one, figure in zip(results, figures, strict=True):
            write_figure(work / figure, show(one), asdict(done.provenance))
        save(done, work / name)
        pictures = [{"files": files, "picture": figure, "result": name} for figure in figures]
        content = {"method": name, "model": network.source, "images": pictures, "refused": listed_refusals(refused)}
        write_json(work / "report.json", content)
    for one in results:
        if is_dataclass(one) and type(one).__str__ is not object.__str__:
            say(str(one))
        for sentence in getattr(one, "notes", ()):
            remark(sentence)
    for figure in figures:
        say(str(out / figure))
    return status(["done"], refused)
