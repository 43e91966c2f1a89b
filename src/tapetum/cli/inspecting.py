"""`tapetum run METHOD IMAGE...` for inspections: one figure of all images, the arrays, and what they say in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from tapetum.border.running import run
from tapetum.cli.batches import for_each, images_of, status
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice, as_target
from tapetum.cli.terminal import bar, note, say
from tapetum.figures import show
from tapetum.models.vision_model import VisionModel
from tapetum.registry import check_parameters, lookup
from tapetum.reports.machine import write_json
from tapetum.reports.provenance import write_figure
from tapetum.store import save
from tapetum.types import Run


def inspect_files(
    name: str,
    *,
    images: Sequence[str] = (),
    model: ModelChoice,
    target: str | None = None,
    out: Path,
    keywords: Mapping[str, Any],
) -> int:
    """Runs one inspection on all images that can be read; 0, or 1 if some were refused, or 2 if nothing could be done."""
    method = lookup(name)
    check_parameters(method, keywords)
    folder = checked_folder(out)
    files, refused = images_of(images)
    network = model.load()
    files, unread = for_each(files, lambda file, _: _read(network, file))
    refused = [*refused, *unread]
    if not files and method.takes != "model":
        return 2
    asked = {} if target is None else {"target": as_target(target)}
    with complete(folder) as work:
        with bar(name) as watcher:
            done = run(name, network, files, progress=watcher, **asked, **keywords)
        figures = _written(work, name, done)
        save(done, work / name)
        pictures = [{"files": files, "picture": figure, "result": name} for figure in figures]
        skipped = [{"file": file, "reason": reason} for file, reason in refused]
        write_json(work / "report.json", {"method": name, "model": network.source, "images": pictures, "refused": skipped})
    _told(done.value)
    for figure in figures:
        say(str(out / figure))
    return status(["done"], refused)


def _read(network: VisionModel, file: str) -> str:
    """The file, if a picture is in it."""
    with network.preprocessing.opened(file):
        return file


def _written(work: Path, name: str, done: Run) -> list[str]:
    """NAME.png, or one figure for each of several results."""
    several = done.value if isinstance(done.value, list) else [done.value]
    names = [f"{name}.png"] if len(several) == 1 else [f"{name}-{i}.png" for i in range(len(several))]
    for one, file in zip(several, names, strict=True):
        write_figure(work / file, show(one), asdict(done.provenance))
    return names


def _told(value: Any) -> None:
    """The result in words, where its kind has some, and what a reader must know."""
    for one in value if isinstance(value, list) else [value]:
        if is_dataclass(one) and type(one).__str__ is not object.__str__:
            say(str(one))
        for sentence in getattr(one, "notes", ()):
            note(sentence)
