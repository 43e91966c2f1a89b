"""`tapetum subnetwork IMAGE...`: the units of a layer that carry an answer, and what they keep of it alone: a figure, JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from tapetum.cli.batches import listed_refusals, opened, readable_files, status
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice, as_target
from tapetum.cli.outputs import say_result, write_result
from tapetum.cli.plans import pass_seconds
from tapetum.cli.terminal import bar, duration, remark
from tapetum.families.subnetworks.masks import Faithfulness, mask_faithfulness, unit_mask
from tapetum.families.subnetworks.scores import unit_scores
from tapetum.keeping.provenance import now
from tapetum.models.vision_model import VisionModel
from tapetum.progress import watching
from tapetum.reports.machine import nan_as_null, write_json
from tapetum.reports.provenance import of_model
from tapetum.store import save


def keep_units(
    *,
    images: Sequence[str],
    target: str | None,
    layers: str | None,
    share: float,
    way: Literal["gradient", "relevance"],
    on: Sequence[str] | None,
    reference: Sequence[str] | None,
    model: ModelChoice,
    out: Path,
    as_json: bool,
    keywords: Mapping[str, Any],
) -> int:
    """Chooses units and measures what they keep; returns status 0, 1 if some images were refused, 2 if nothing was done."""
    folder = checked_folder(out)
    network, files, refused = opened(model, images)
    others = readable_files(on, network, "--on") or []
    if not files:
        return 2
    means = readable_files(reference, network, "--reference")
    chosen, measured, words = _halves(files, others)
    remark(_plan(network, len(chosen), len(measured), share, keywords))
    started, asked = now(), as_target(target)
    with bar("subnetwork") as watcher, watching(watcher):
        masks = unit_mask(unit_scores(network, chosen, asked, layers, way=way), share)
        found = mask_faithfulness(network, masks, measured, asked, reference=means, **keywords)
    parameters = {**keywords, "reference": means, "target": target, "layers": list(masks), "share": share, "way": way}
    facts = {**of_model(network), "method": "mask_faithfulness", "parameters": parameters, "started": started}
    content = {**_numbers(found, masks), "chosen_on": chosen, "measured_on": measured}
    with complete(folder) as work:
        pictures = [*write_result(work, "subnetwork", found, facts, measured), {"files": chosen, "result": "masks"}]
        save(masks, work / "masks")
        skipped = listed_refusals(refused)
        write_json(work / "report.json", {**facts, **nan_as_null(content), "images": pictures, "refused": skipped})
    said = f"{', '.join(masks)}: {found}\n{words}\n{out / 'subnetwork.png'}"
    say_result(found, said, folder / "report.json", as_json=as_json)
    return status(["done"], refused)


def _halves(files: list[str], others: list[str]) -> tuple[list[str], list[str], str]:
    """Returns the images that choose the units, those on which these are measured, and words about it."""
    if others:
        return files, others, f"units chosen on {len(files)} images, measured on {len(others)} others"
    if len(files) == 1:
        return files, files, "chosen and measured on the same image: what these units keep of others may be less"
    return files[::2], files[1::2], f"units chosen on {len(files[::2])} images, measured on the {len(files[1::2])} others"


CHOSEN, EACH, MADE = 3.0, 2.0, 20
"""Passes over an image for its scores, and for each part; passes that the copy of each part takes. Measured with the built-in
model.
"""


def _plan(network: VisionModel, chosen: int, measured: int, share: float, keywords: Mapping[str, Any]) -> str:
    """Says what will be done and about how long, from the time of a pass over one image."""
    parts = int(keywords["parts"])
    seconds = (chosen * CHOSEN + (parts + 3) * (measured * EACH + MADE)) * pass_seconds(network)
    what = f"the {share:.0%} of the units that carry the score on {chosen} images, then what they keep of it on {measured}"
    return f"{what}, beside {parts} random parts; about {duration(seconds)}"


def _numbers(found: Faithfulness, masks: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns what report.json tells of the part and of each image."""
    rows = [
        {"full": full, "part": part, "empty": empty}
        for full, part, empty in zip(found.full.tolist(), found.part.tolist(), found.empty.tolist(), strict=True)
    ]
    kept = {name: mask.nonzero()[:, 0].tolist() for name, mask in masks.items()}
    about = {"kept": found.kept, "interval": list(found.interval), "random_kept": list(found.random_kept), "p": found.p}
    return {**about, "units": list(found.units), "masks": kept, "scores": rows}
