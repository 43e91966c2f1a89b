"""`tapetum circuit IMAGE...`: the circuit of a class or a unit as a page to click through, a figure, JSON, and arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tapetum
from tapetum.cli.batches import listed_refusals, opened, readable_files, status
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice, as_target
from tapetum.cli.plans import pass_seconds
from tapetum.cli.terminal import bar, duration, remark, say
from tapetum.families.circuits.looks import STEPS
from tapetum.figures import show
from tapetum.keeping.provenance import now
from tapetum.models.vision_model import VisionModel
from tapetum.progress import watching
from tapetum.reports.circuits import content
from tapetum.reports.machine import write_json
from tapetum.reports.provenance import of_model, write_figure
from tapetum.store import save
from tapetum.types import Circuit

PAGE, FIGURE, RESULT, NUMBERS = "circuit.html", "circuit.png", "circuit", "circuit.json"


def circuit_files(
    *,
    images: Sequence[str],
    model: ModelChoice,
    target: str | None,
    reference: Sequence[str] | None,
    out: Path,
    keywords: Mapping[str, Any],
) -> int:
    """Finds the circuit on all readable images; returns exit status 0, 1 if some were refused, 2 if nothing was done."""
    folder = checked_folder(out)
    network, files, refused = opened(model, images)
    if not files:
        return 2
    others = readable_files(reference, network, "--reference")
    remark(_plan(network, files, target, keywords))
    started = now()
    with bar("circuit") as watcher, watching(watcher):
        found = tapetum.circuit(network, as_target(target), files, reference=others, **keywords)
    asked = {**keywords, "target": target, "reference": others}
    with complete(folder) as work:
        _write(work, found, {**of_model(network), "method": "circuit", "parameters": asked, "started": started}, files, refused)
    say(str(found))
    say(f"{out / PAGE}: the graph to click through")
    return status(["done"], refused)


# --- before it begins

FIRST, EACH, TESTED, DRAWN = 12.0, 2.0, 0.04, 3.0
"""Passes over an image: to record it; per edge, with its judgement; for the tests per pair of edges, since every edge is taken
away from the whole circuit; per step of a feature visualisation. Measured with the built-in model on 4 photographs.
"""


def _plan(network: VisionModel, files: Sequence[str], target: str | None, keywords: Mapping[str, Any]) -> str:
    """Says what will be done and about how long, from the time of a pass over one image."""
    blank, one = network.blank(), pass_seconds(network)
    edges, side = int(keywords["edges"]), keywords["pictures"]
    passes = len(files) * (FIRST + EACH * edges + (TESTED * edges**2 if keywords["test"] else 0))
    share = 0.0 if side is None else int(side) ** 2 / (blank.shape[-1] * blank.shape[-2])
    passes += DRAWN * STEPS * edges * share
    tested = "; then the tests, and what the strongest edges keep of the score" if keywords["test"] else ""
    pictures = f"; then a picture of every channel, {side} px" if side is not None else ""
    some = "one image" if len(files) == 1 else f"{len(files)} images"
    what = f"circuit of {target or 'the answer'} on {some}: up to {edges} edges by {keywords['measure']}, each judged"
    return f"{what} by taking it away{tested}{pictures}; about {duration(one * passes)}"


# --- files


def _write(
    work: Path, found: Circuit, facts: Mapping[str, Any], files: Sequence[str], refused: Sequence[tuple[str, str]]
) -> None:
    found.write(work / PAGE)
    write_figure(work / FIGURE, show(found), dict(facts))
    save(found, work / RESULT)
    named = {"page": PAGE, "images": [{"picture": FIGURE, "result": RESULT}], "files": list(files)}
    write_json(work / NUMBERS, {**facts, **content(found), **named, "refused": listed_refusals(list(refused))})
