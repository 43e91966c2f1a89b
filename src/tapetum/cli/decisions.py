"""`tapetum prototypes DATA [IMAGE...]`: what decisions usually rest on, and which are unusual: figures, JSON, words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tapetum import store
from tapetum.cli.batches import listed_refusals, opened, status
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice
from tapetum.cli.outputs import write_result
from tapetum.cli.plans import pass_seconds
from tapetum.cli.terminal import bar, duration, remark, say, say_file
from tapetum.data.streams import as_source
from tapetum.families.concept_tests.prototypes import Prototypes, prototypes
from tapetum.keeping.provenance import now
from tapetum.models.vision_model import VisionModel
from tapetum.progress import watching
from tapetum.reports.machine import nan_as_null, write_json
from tapetum.reports.provenance import of_model
from tapetum.types import Decisions, MethodError

LEARNED, JUDGED = "prototypes", "decisions"


def judge_files(
    *,
    data: str,
    images: Sequence[str] | None,
    layer: str | None,
    model: ModelChoice,
    out: Path,
    as_json: bool,
    keywords: Mapping[str, Any],
) -> int:
    """Learns what is usual and judges the images; returns status 0, 1 if some images were refused, 2 if all were."""
    folder = checked_folder(out)
    network, files, refused = opened(model, images or [])
    started = now()
    if images and not files:
        return 2
    usual = _earlier(data, network)
    remark(_plan(network, data, files, usual, keywords))
    with bar("prototypes") as watcher, watching(watcher):
        usual = usual or prototypes(network, as_source(data), layer, **keywords)
        judged = usual.judge(network, files, batch=keywords["batch"]) if files else None
    parameters = {**keywords, "data": data, "layer": usual.layer, "way": usual.way, "level": usual.level}
    facts = {**of_model(network), "method": "prototypes", "parameters": parameters, "started": started}
    content = {**_numbers(usual, judged), "refused": listed_refusals(refused)}
    with complete(folder) as work:
        pictures = write_result(work, LEARNED, usual, facts)
        if judged is not None:
            pictures += write_result(work, JUDGED, judged, facts, files)
        write_json(work / "report.json", {**facts, **nan_as_null(content), "images": pictures})
    if as_json:
        say_file(folder / "report.json")
    else:
        say("\n".join(map(str, [usual, *([judged, out / f"{JUDGED}.png"] if judged else []), out / f"{LEARNED}.png"])))
    for sentence in dict.fromkeys([*usual.notes, *(judged.notes if judged else ())]):
        remark(sentence)
    return status(["learned"], refused)


def _earlier(data: str, network: VisionModel) -> Prototypes | None:
    """Returns prototypes that were saved in a folder; None where it holds pictures."""
    if not (Path(data) / "manifest.json").is_file():
        return None
    found = store.open(data)
    if not isinstance(found, Prototypes):
        raise MethodError(
            f"{data} holds a {type(found).__name__}, no prototypes: give a folder of pictures, or saved prototypes"
        )
    if found.model != network.name:
        raise MethodError(f"the prototypes in {data} are of {found.model}, not of {network.name}: give its pictures")
    return found


PASSES = {"gradient": 1.6, "relevance": 6.0}
"""Passes over an image that its decision takes; measured with the built-in model."""


def _plan(network: VisionModel, data: str, files: Sequence[str], usual: Prototypes | None, keywords: Mapping[str, Any]) -> str:
    """Says what will be done and about how long, from the time of a pass over one image."""
    way, most = keywords["way"] if usual is None else usual.way, keywords["n"]
    if usual is None:
        there = len(as_source(data).ids)
        learned = there if most is None else min(there, int(most))
        first = f"usual decisions from {learned} pictures, by {way}"
    else:
        learned = 0
        first = f"usual decisions as they were learned at {usual.layer}, by {way}"
    then = f"; then {len(files)} are judged" if files else ""
    seconds = (learned + len(files)) * PASSES[way] * pass_seconds(network)
    return f"{first}{then}; about {duration(seconds)}"


def _numbers(usual: Prototypes, judged: Decisions | None) -> dict[str, Any]:
    """Returns what report.json tells of every class and of every decision."""
    classes = [
        {
            "label": one.label,
            "decisions": sum(one.sizes),
            "held_out": len(one.distances),
            "power": one.power,
            "nearest": list(one.examples),
        }
        for one in usual.classes
    ]
    rate = {"false_alarms": usual.false_alarms, "tested": usual.tested}
    rows = [] if judged is None else [_decision(judged, i) for i in range(len(judged))]
    return {**rate, "classes": classes, "skipped": dict(usual.skipped), "decisions": rows}


def _decision(judged: Decisions, i: int) -> dict[str, Any]:
    known = bool(judged.p[i].isfinite())
    pairs = zip(judged.channels[i].tolist(), judged.differences[i].tolist(), strict=True)
    return {
        "file": judged.names[i],
        "label": judged.labels[i],
        "unusual": judged.unusual[i] if known else None,
        "p": float(judged.p[i]),
        "distance": float(judged.distances[i]),
        "differ": [{"channel": channel, "difference": value} for channel, value in pairs] if known else [],
    }
