"""`tapetum run METHOD IMAGE...`: overlays as PNG with provenance inside, and the arrays in a saved result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tapetum.cli.explaining import _checked_folder, _complete
from tapetum.cli.main import as_target, load_model
from tapetum.cli.terminal import bar, fail, say
from tapetum.data.images import read_image, write_png
from tapetum.data.sources import find_images
from tapetum.families.running import run
from tapetum.figures.overlay import picture
from tapetum.registry import check_parameters, lookup
from tapetum.reports.pictures import safe, unique
from tapetum.store import save
from tapetum.types import ImageError


def run_files(
    name: str,
    *,
    images: Sequence[str],
    model: str,
    weights: str | None,
    target: str | None,
    out: Path,
    keywords: Mapping[str, Any],
) -> int:
    """Runs one method on every image; 0, or 1 if some were refused, or 2 if all were."""
    check_parameters(lookup(name), keywords)
    network = load_model(model, weights)
    files = find_images(images)
    folder = _checked_folder(out)
    refused = 0
    taken: set[str] = set()
    with _complete(folder) as work:
        for file in files:
            try:
                ready = network.preprocess(read_image(file))
            except ImageError as error:
                fail(str(error))
                refused += 1
                continue
            with bar(f"{name} {Path(file).name}") as watcher:
                done = run(name, network, ready, target=as_target(target), progress=watcher, **keywords)
            stem = unique(safe(Path(file).stem), taken)
            provenance = json.dumps({"file": file, **asdict(done.provenance)})
            write_png(work / f"{stem}.png", picture(done.value, network.denormalize(ready).cpu()), {"tapetum": provenance})
            save(done, work / stem)
            say(f"{file}: {done.value.target[0]}, {done.value.status[0]}, {folder / stem}.png")
        if refused == len(files):
            raise SystemExit(2)
        (work / "report.json").write_text(json.dumps({"method": name, "images": len(files) - refused}))
    return 1 if refused else 0
