"""`tapetum atlas build`: its options are the keywords of `atlas.build.build`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tapetum.cli.batches import say_skipped
from tapetum.cli.folders import placed, writing
from tapetum.cli.models import ModelChoice
from tapetum.cli.terminal import bar, one_line, remark, say
from tapetum.keeping.places import GOES_ON
from tapetum.progress import watching


def build_atlas(*, data: str, model: ModelChoice, out: Path, ray: str | None, keywords: dict[str, Any]) -> int:
    """Builds an atlas or continues an unfinished one; returns exit status 0, or 1 if pictures were skipped."""
    from tapetum.atlas.build import build

    if ray is not None:
        from tapetum.runners.ray_actors import Ray

        keywords["run"] = Ray(ray)
    with bar("atlas") as watcher:
        network = model.load()
        try:
            with watching(watcher), writing(placed(out), GOES_ON):
                done = build(network, data, out, **keywords)
        except KeyboardInterrupt:
            remark(f"finished parts are kept in {one_line(out)}: the same command goes on from there")
            raise
    for text in done.notes:
        remark(text)
    say_skipped(done.skipped.items())
    remark(f"{done.units:,} units over {done.pictures:,} pictures")
    say(str(done.index))
    return 1 if done.skipped else 0
