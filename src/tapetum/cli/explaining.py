"""`tapetum explain` and `tapetum predict`: process many files and write one report, or print predictions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tapetum import store
from tapetum.cli.batches import Refused, for_each, images_of, status
from tapetum.cli.folders import checked_folder, files_named, is_picture, report_files, take_away, writing
from tapetum.cli.models import ModelChoice, as_target
from tapetum.cli.results import RESULTS, Task, keep, kept, kept_files, say_kept
from tapetum.cli.resumable import is_ours
from tapetum.cli.terminal import one_line, remark, say, say_file
from tapetum.engines import scores
from tapetum.families.inspections import predict
from tapetum.keeping.locks import alone
from tapetum.keeping.places import GOES_ON
from tapetum.keeping.provenance import now, versions
from tapetum.models.vision_model import VisionModel
from tapetum.notes import is_caution
from tapetum.progress import Watcher
from tapetum.reports import machine
from tapetum.reports.job import explain_one, origin
from tapetum.reports.page import write_report
from tapetum.reports.pictures import pictures, stems
from tapetum.reports.plan import BUDGET_S, JobPlan, planned
from tapetum.types import Explanation, Provenance, Run


def explain_files(
    images: Sequence[str],
    *,
    model: ModelChoice,
    out: str | Path,
    target: str | None = None,
    resume: bool = True,
    as_json: bool = False,
    keywords: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Explains every image and writes the report; returns exit status 0, 1 if something was refused, 2 if nothing was done."""
    settings = {"methods": "auto", **keywords, "target": as_target(target)}
    methods = settings.pop("methods")
    plan = planned(methods, settings.pop("budget_s", BUDGET_S), **settings)
    folder = report_folder(out)
    files, missing = images_of(images)
    if not files:
        return 2
    network = model.load()
    check_target(network, plan.target)
    named = zip(files, stems(files), strict=True)
    tasks = {file: Task((file,), stem, asdict(origin(network, file, plan))) for file, stem in named}
    hashed = [(file, task) for file, task in tasks.items() if resume and file in task.wanted["files"]]  # URLs may change
    there = {file for file, task in hashed if kept(folder, task, Explanation) is not None}
    say_kept(len(there), len(files))

    def explained(file: str, watcher: Watcher) -> Task:
        if file not in there:
            started, clock = now(), time.perf_counter()
            explanation = explain_one(network, file, plan, watcher)
            spent = {"started": started, "seconds": time.perf_counter() - clock}
            with writing(out, GOES_ON):
                if not resume:  # an old report would name pictures that are replaced
                    take_away(folder, report_files(folder))
                keep(folder, tasks[file], Run(explanation, Provenance(**{**tasks[file].wanted, **spent})))
        return tasks[file]

    with alone(folder):
        done, refused = for_each(files, explained, stopped="; the same command goes on")
        refused = missing + refused
        if not done:
            return 2
        with writing(out, GOES_ON):
            content = _write(folder, done, refused, network, plan, model.words)
    without = dict.fromkeys((one["method"], one["reason"]) for image in content["images"] for one in image["refused"])
    for method, reason in () if methods == "best" else without:
        remark(f"no map from {method}: {reason}")
    if as_json:
        say_file(folder / "report.json")
    else:
        for image in content["images"]:
            say("\n".join([one_line(Path(image["file"]).name), *(f"  {finding}" for finding in image["findings"])]))
        say(f"\nreport: {Path(out) / 'report.html'}")
    return status(done, refused or (() if methods in ("auto", "best") else tuple(without)))


# --- the explanation of each image, saved as soon as it is made


def report_folder(out: str | Path) -> Path:
    """Returns the path of an output folder; refuses one with files not from an earlier report, finished or not."""

    def ours(folder: Path) -> set[Path]:
        pictures = {path for path in folder.glob("*/*.png") if is_picture(path)}
        page = {path for path in (folder / "report.html",) if is_ours(path)}  # if a run was killed before it wrote report.json
        return report_files(folder) | set(kept_files(folder)) | pictures | page

    return checked_folder(out, ours)


class KeptExplanations(Sequence[Explanation]):
    """Sequence of saved explanations that opens each when it is read, since all together may not fit into memory."""

    def __init__(self, folder: Path, tasks: Sequence[Task]) -> None:
        self.folder, self.tasks = folder, tasks

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, row: Any) -> Any:
        return store.open(self.folder / RESULTS / self.tasks[row].stem).value


def check_target(model: VisionModel, target: int | str | None) -> None:
    """Refuses a target that is wrong for every image, once, before any work."""
    if target is not None:
        scores.check_target(model, model.noise(), target)


# --- the report


def _write(
    folder: Path, tasks: Sequence[Task], refused: Refused, model: VisionModel, plan: JobPlan, told: Sequence[str]
) -> dict[str, Any]:
    """Writes pictures, page and, last, report.json; deletes other files of an earlier report. Returns report.json's content."""
    explanations = KeptExplanations(folder, tasks)
    names = pictures(folder, explanations, [task.stem for task in tasks])
    results = [f"{RESULTS}/{task.stem}" for task in tasks]
    about: dict[str, Any] = {"model": model.source, "refused": refused, "versions": versions(), "seed": plan.seed}
    content = machine.as_json(explanations, names, results, **about)
    weights = None if model.weights == "default" else model.weights
    facts = model_facts(model, explanations[0].outputs)
    write_report(folder, explanations, weights=weights, told=told, model_facts=facts, **about)
    now_there = files_named(folder, content)
    stale = {path for task in tasks for path in (folder / task.stem).glob("*.png") if is_picture(path)}
    take_away(folder, (report_files(folder) | stale) - now_there)
    machine.write_json(folder / "report.json", content)
    return content


def model_facts(model: VisionModel, outputs: str) -> dict[str, str]:
    """Returns what a report says of its model, as words for its head."""
    count = sum(tensor.numel() for tensor in model.module.parameters())
    read = model.preprocessing
    mean, std = (", ".join(f"{one:.4g}" for one in row) for row in (read.mean, read.std))
    assumed = " (assumed)" if any(map(is_caution, model.notes)) else ""
    weights = {"default": "as they came", "random": "random, untrained"}.get(model.weights, Path(model.weights).name)
    return {
        "Model": model.source,
        "Parameters": f"{count / 1e6:.1f} million" if count >= 1e5 else f"{count:,}",
        "Input": f"{read.describe()}; mean {mean}, std {std}{assumed}",
        **({"Outputs": outputs} if outputs else {}),
        "Weights": f"{weights}, sha256 {model.weights_sha256[:12]}",
    }


def predict_files(images: Sequence[str], *, model: ModelChoice, k: int, keywords: Mapping[str, Any]) -> int:
    """Prints the k most probable classes of every image; returns the exit status as `explain_files` does."""
    files, missing = images_of(images)
    if not files:
        return 2
    network = model.load()

    def work(file: str, watcher: object) -> None:
        best = predict(network, network.preprocess(file), k, **keywords)[0]
        answers = "  ".join(f"{one.label or one.index} {one[2]:.3f}" for one in best)
        say(f"{one_line(file)}: {answers}")

    done, refused = for_each(files, work)
    return status(done, missing + refused)
