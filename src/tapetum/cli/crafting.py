"""`tapetum craft DATA --target CLASS`: what the pictures of a class are made of: a figure, the arrays, JSON, and words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice, as_target
from tapetum.cli.outputs import say_result, write_result
from tapetum.cli.plans import pass_seconds
from tapetum.cli.terminal import bar, duration, remark
from tapetum.data.streams import as_source
from tapetum.families.concept_tests.craft import ASKED, craft
from tapetum.keeping.provenance import now
from tapetum.models.vision_model import VisionModel
from tapetum.progress import watching
from tapetum.reports.machine import nan_as_null, write_json
from tapetum.reports.provenance import of_model
from tapetum.types import Craft


def take_apart(
    *, data: str, target: str, layer: str | None, model: ModelChoice, out: Path, as_json: bool, keywords: Mapping[str, Any]
) -> int:
    """Finds the concepts of one class and writes them; returns status 0."""
    folder = checked_folder(out)
    source, network, started = as_source(data), model.load(), now()
    remark(_plan(network, len(source.ids), target, keywords))
    with bar("craft") as watcher, watching(watcher):
        found = craft(network, source, as_target(target), layer, **keywords)
    parameters = {**keywords, "data": data, "target": target, "layer": found.layer}
    facts = {**of_model(network), "method": "craft", "parameters": parameters, "started": started}
    with complete(folder) as work:
        pictures = write_result(work, "craft", found, facts)
        write_json(work / "report.json", {**facts, **nan_as_null(_numbers(found)), "images": pictures})
    say_result(found, f"{found}\n{out / 'craft.png'}", folder / "report.json", as_json=as_json)
    return 0


BEHIND = 0.02
"""Time of the layers behind the one that is asked, as a share of a whole pass; measured with the built-in model."""


def _plan(network: VisionModel, there: int, target: str, keywords: Mapping[str, Any]) -> str:
    """Says what will be done and about how long, from the time of a pass over one image."""
    n, crops, most = int(keywords["n"]), int(keywords["crops"]), keywords["most"]
    pictures = there if most is None else min(there, int(most))
    shufflings = int(keywords["shufflings"])
    behind = (int(keywords["designs"]) + shufflings + 1) * (n + 1) * BEHIND
    passes = pictures * (1 + crops) + min(pictures, ASKED) * behind
    those = "that the model takes for it" if keywords["keep"] == "predicted" else "that can be read"
    what = f"{n} concepts of {target} from {crops} crops of each of {pictures} pictures {those}, beside {shufflings} shufflings"
    return f"{what}; at most about {duration(passes * pass_seconds(network))}"


def _numbers(found: Craft) -> dict[str, Any]:
    """Returns what report.json tells of every concept."""
    columns = {name: getattr(found, name).tolist() for name in ("importance", "stderr", "effect", "p")}
    rows = [
        {"name": str(one), **{name: column[i] for name, column in columns.items()}, "crops": list(found.crop_names[i])}
        for i, one in enumerate(found.concepts)
    ]
    about = {"verdict": found.verdict, "beats_chance": found.beats_chance, "explained": found.explained}
    return {**about, "shuffled": found.null_explained.tolist(), "pictures": list(found.pictures), "concepts": rows}
