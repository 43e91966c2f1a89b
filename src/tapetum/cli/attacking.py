"""`tapetum attack IMAGE...`: attacked pictures as files, a strip of each from clean to attacked, and the numbers as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tapetum.border.running import run
from tapetum.cli.batches import listed_refusals, opened, status
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice, as_target
from tapetum.cli.terminal import bar, one_line, remark, say
from tapetum.data.images import to_uint8
from tapetum.families.attacks.disturbance import disturbance
from tapetum.families.attacks.files import picture_for_file
from tapetum.families.inspections import predict
from tapetum.figures import show
from tapetum.models.vision_model import VisionModel
from tapetum.progress import watching
from tapetum.registry import check_parameters, lookup, parameters
from tapetum.reports.machine import write_json
from tapetum.reports.pictures import safe_name, unique
from tapetum.reports.provenance import write_figure, write_picture
from tapetum.store import save
from tapetum.types import Attack, Disturbance, ImageError, Run


def attack_files(
    *, images: Sequence[str], model: ModelChoice, method: str, target: str | None, out: Path, keywords: Mapping[str, Any]
) -> int:
    """Attacks all readable images; returns exit status 0, 1 if some images were refused, 2 if nothing was done."""
    given = _own(method, keywords)
    folder = checked_folder(out)
    network, files, refused = opened(model, images)
    if not files:
        return 2
    with bar("attack") as watcher, watching(watcher):
        done = run(method, network, files, target=as_target(target), **given)
        told = disturbance(network, network.preprocess(files), done.value)
    with complete(folder) as work:
        rows = _written(work, network, files, done, told)
        write_figure(work / "attack.png", show(done.value), asdict(done.provenance))
        save(done, work / "attack")
        save(told, work / "disturbance")
        pictures = [{"picture": "attack.png", "result": "attack"}, {"result": "disturbance"}, *rows]
        content = {**asdict(done.provenance), **_rates(done.value), "layers": _layers(told), "images": pictures}
        write_json(work / "report.json", {**content, "refused": listed_refusals(refused)})
    say(str(done.value))
    for sentence in dict.fromkeys((*done.value.notes, *told.notes)):
        remark(sentence)
    for row in rows:
        say(f"{one_line(row['file'])}: {row['before']}, attacked: {row['after']}, {out / row['picture']}{_of_file(row, out)}")
    return status(["done"], refused)


def _own(method: str, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the keywords that differ from the defaults of `pgd`, whose options these are; refuses unknown ones."""
    usual = {one.name: one.default for one in parameters(lookup("pgd"))}
    given = {name: value for name, value in keywords.items() if value != usual[name]}
    check_parameters(lookup(method), given)
    return given


@dataclass(frozen=True)
class _Names:
    """File names of one image."""

    strip: str
    picture: str


def _written(work: Path, network: VisionModel, files: Sequence[str], done: Run, told: Disturbance) -> list[dict[str, Any]]:
    """Writes the strip and the attacked picture of every image; returns their entries in report.json."""
    taken: set[str] = set()
    found: list[dict[str, Any]] = []
    for i, file in enumerate(files):
        stem = unique(safe_name(Path(file).stem), taken)
        names = _Names(f"{stem}-strip.png", f"{stem}-attacked.png")
        write_figure(work / names.strip, show(told[i]), {**asdict(done.provenance), "file": file, "row": i})
        found.append({**_entry(done.value, i), "file": file, "picture": names.strip})
        try:
            pixels = picture_for_file(network, file, done.value.pixels[i])
        except ImageError as refusal:
            found[-1]["attacked"], found[-1]["attacked_file"] = None, {"refused": str(refusal)}
            continue
        write_picture(work / names.picture, pixels, done.provenance, file=file, row=i)
        found[-1] |= {"attacked": names.picture, "attacked_file": _read_back(network, pixels, done.value, i)}
    return found


def _read_back(network: VisionModel, pixels: Tensor, attack: Attack, i: int) -> dict[str, Any]:
    """Returns the answer to the file that was written: read, resized, cut and normalised as any photograph."""
    answer = predict(network, network.preprocess(to_uint8(pixels)), k=1)[0][0]
    label = attack.labels[i] if answer.index is None else answer.label or f"class {answer.index}"
    return {"answer": label, "same_as_attacked": label == attack.labels[i]}


def _entry(attack: Attack, i: int) -> dict[str, Any]:
    before, after = attack.confidence[i].tolist()
    return {
        "before": attack.before[i],
        "after": attack.labels[i],
        "left": attack.left[i],
        "aim": attack.aim[i],
        "probability_before": before,
        "probability_after": after,
        "reached": attack.reached[i].tolist(),
        "loss": attack.loss[i].tolist(),
        "largest_change": float(attack.largest[i]),
        "length": float(attack.length[i]),
        "in_8_bits": bool(attack.in_8_bits[i]),
    }


def _rates(attack: Attack) -> dict[str, Any]:
    return {"eps": list(attack.eps), "norm": attack.norm, "rate": attack.rate.tolist()}


def _layers(told: Disturbance) -> list[dict[str, Any]]:
    """Returns the mean changes of every layer over images, and those by noise."""
    columns = (told.change.mean(0), told.noise.mean((0, 1)), told.switched.mean(0), told.switched_noise.mean((0, 1)))
    names = ("change", "change_by_noise", "switched", "switched_by_noise")
    numbers = zip(*(one.tolist() for one in columns), strict=True)
    return [{"layer": layer, **dict(zip(names, row, strict=True))} for layer, row in zip(told.layers, numbers, strict=True)]


def _of_file(row: Mapping[str, Any], out: Path) -> str:
    if row["attacked"] is None:
        return f"; {row['attacked_file']['refused']}"
    said = row["attacked_file"]
    kept = "keeps that answer" if said["same_as_attacked"] else f"is answered with {said['answer']}"
    return f"; {out / row['attacked']} {kept}"
