"""`tapetum rank DATA --model M`: methods ranked on one's own pictures: two figures, the numbers, and words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapetum.cli.batches import say_skipped
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice
from tapetum.cli.scanning import runner
from tapetum.cli.terminal import STOPPED, bar, fail, remark, say, telling
from tapetum.data.streams import as_source
from tapetum.families.rankings.ranking import rank_methods
from tapetum.figures import show
from tapetum.keeping.provenance import now
from tapetum.progress import Progress, watching
from tapetum.reports.machine import write_json
from tapetum.reports.provenance import of_model, write_figure
from tapetum.store import save
from tapetum.types import Cancelled, MethodRanking

VIEWS = ("ranks", "record")


def rank_folder(
    *, data: str, model: ModelChoice, out: Path, kept: Path | None, ray: str | None, keywords: dict[str, Any]
) -> int:
    """Ranks methods on a data set and writes the result; returns status 0, or 1 if pictures were skipped."""
    folder = checked_folder(out)
    run, first = runner(ray, keywords.pop("workers"))
    source, network, started = as_source(data), model.load(), now()
    if (device := getattr(run, "device", "cpu")) != "cpu":  # the accelerator of this rank
        network.module.to(device)
    last = Progress(0, len(source.ids), "pictures")

    def watch(event: Progress) -> bool | None:
        nonlocal last
        last = event
        return told(event)

    try:
        with bar("rank") as drawn, watching(watch):
            told = telling(drawn, "pictures")
            found = rank_methods(network, source, run=run, out=kept, **keywords)
    except (KeyboardInterrupt, Cancelled):
        again = "the same command goes on" if kept else "with --kept FOLDER a stopped run goes on there"
        fail(f"stopped: {last.done} of {last.total} pictures are done; {again}")
        raise SystemExit(STOPPED) from None
    if not first:
        return 0  # another rank saves
    facts = {**of_model(network), "method": "rank_methods", "parameters": {**keywords, "data": data}, "started": started}
    _write(folder, found, facts)
    say(str(found))
    for sentence in found.notes:
        remark(sentence)
    for view in VIEWS:
        say(str(out / f"{view}.png"))
    say_skipped(found.skipped.items(), "report.json")
    return 1 if found.skipped else 0


def _write(folder: Path, found: MethodRanking, facts: Mapping[str, Any]) -> None:
    with complete(folder) as work:
        for view in VIEWS:
            write_figure(work / f"{view}.png", show(found, view=view), {**facts, "view": view})
        save(found, work / "ranking")
        pictures = [{"files": [], "picture": f"{view}.png", "result": "ranking"} for view in VIEWS]
        said = {metric: found.said(metric) for metric in found.metrics}
        write_json(
            work / "report.json",
            {**facts, "images": pictures, "pictures": list(found.pictures), "said": said, "skipped": dict(found.skipped)},
        )
