"""`tapetum run METHOD IMAGE...` for attributions: writes overlays as PNG with provenance, and results with the arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from tapetum.border.keywords import BEST
from tapetum.border.layers import named_layers
from tapetum.border.running import run
from tapetum.cli.batches import for_each, images_of, listed_refusals, status
from tapetum.cli.explaining import check_target
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice, as_target
from tapetum.cli.terminal import one_line, say
from tapetum.data.planes import viewable
from tapetum.figures.overlay import picture
from tapetum.keeping.provenance import versions
from tapetum.progress import Watcher
from tapetum.registry import check_parameters, lookup
from tapetum.reports.machine import write_json
from tapetum.reports.pictures import safe_name, unique
from tapetum.reports.provenance import MAX_PIXELS, of_file, write_picture
from tapetum.store import save


def run_files(
    name: str,
    *,
    images: Sequence[str],
    model: ModelChoice,
    target: str | None,
    on: Literal["crop", "photo"],
    out: Path,
    keywords: Mapping[str, Any],
) -> int:
    """Runs one method on every image; returns exit status 0, 1 if some were refused, 2 if nothing was done."""
    check_parameters(lookup(name), keywords)
    folder = checked_folder(out)
    files, missing = images_of(images)
    if not files:
        return 2
    network = model.load()
    check_target(network, as_target(target))
    for layer in named_layers(keywords.get("layer") or BEST):
        if layer != BEST:
            network.find_layers(layer)  # a wrong name is wrong for every image
    taken: set[str] = set()

    with complete(folder) as work:

        def explained(file: str, watcher: Watcher) -> dict[str, Any]:
            ready = network.preprocess(file)
            done = run(name, network, ready, target=as_target(target), progress=watcher, **keywords)
            seen = viewable(network.preprocessing.read(file, MAX_PIXELS)) if on == "photo" else network.denormalize(ready)
            stem = unique(safe_name(Path(file).stem), taken)
            done = replace(done, provenance=of_file(done.provenance, file))
            pixels, drawn = picture(done.value, seen[0].cpu(), on=on), work / f"{stem}.png"
            try:
                write_picture(drawn, pixels, done.provenance, file=file, row=0, on=on)
                save(done, work / stem)
            except BaseException:
                drawn.unlink(missing_ok=True)
                raise
            answer = {"target": done.value.target[0], "status": done.value.status[0], "layer": done.value.layer}
            return {"file": file, **answer, "picture": drawn.name, "result": stem}

        done, refused = for_each(files, explained, f"{name} ")
        if not done:
            raise SystemExit(2)
        skipped = listed_refusals(missing + refused)
        content = {"method": name, "model": network.source, "images": done, "refused": skipped, "versions": versions()}
        write_json(work / "report.json", content)
    for row in done:
        say(f"{one_line(row['file'])}: {row['target']}, {row['status']}, {out / row['picture']}")
    return status(done, missing + refused)
