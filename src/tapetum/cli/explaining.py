"""`tapetum explain` and `tapetum predict`: many files, one report, and the exit status of the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tapetum.cli.batches import Refused, for_each, images_of, status
from tapetum.cli.folders import checked_folder, complete
from tapetum.cli.models import ModelChoice
from tapetum.cli.terminal import note, one_line, say, say_file
from tapetum.engines import scores
from tapetum.families.inspections import predict
from tapetum.families.running import versions
from tapetum.models.vision_model import VisionModel
from tapetum.notes import is_caution
from tapetum.reports.explanation import Explanation
from tapetum.reports.job import BUDGET_S, Plan, checked_methods, explain_one, plan_methods
from tapetum.reports.machine import as_json, write_json
from tapetum.reports.page import write_report
from tapetum.reports.pictures import pictures


def explain_files(
    paths: Sequence[str],
    *,
    model: ModelChoice,
    target: int | str | None,
    methods: Sequence[str] | Literal["auto", "best"],
    budget_s: float = BUDGET_S,
    out: str,
    as_json_too: bool,
    settings: Mapping[str, Any],
) -> int:
    """Explains every image and writes the report; 0, or 1 if something was refused, or 2 if nothing could be done."""
    chosen = plan_methods(methods, budget_s, settings.get("evidence", True))
    checked_methods(chosen["methods"])
    plan = Plan(target=target, **chosen, **settings)
    folder = checked_folder(out)
    files, missing = images_of(paths)
    if not files:
        return 2
    network = model.load()
    check_target(network, target)
    done, refused = for_each(files, lambda file, watcher: explain_one(network, file, plan, watcher))
    refused = missing + refused
    if not done:
        return 2
    _write(folder, done, refused, network, plan, model.words)
    without = _refusing_methods(done)
    for method, reason in [] if methods == "best" else without:
        note(f"no map from {method}: {reason}")
    if as_json_too:
        say_file(folder / "report.json")
    else:
        _summarise(done, Path(out) / "report.html")
    asked = [] if methods in ("auto", "best") else without
    return status(done, [*refused, *asked])


def check_target(model: VisionModel, target: int | str | None) -> None:
    """A target that is wrong for every image: say so once, before any work. What the model finds differs by image."""
    if target is not None:
        scores.check_target(model, model.noise(), target)


def _refusing_methods(done: Sequence[Explanation]) -> list[tuple[str, str]]:
    """(method, reason), each once however many images it is true of."""
    pairs = [pair for explanation in done for question in explanation.questions for pair in question.refused.items()]
    return list(dict.fromkeys(pairs))


def _write(
    folder: Path, done: Sequence[Explanation], refused: Refused, model: VisionModel, plan: Plan, told: Sequence[str]
) -> None:
    with complete(folder) as work:
        names = pictures(work, done)
        content = as_json(done, names, model=model.source, refused=refused, versions=versions(), seed=plan.seed)
        write_json(work / "report.json", content)
        write_report(
            work,
            done,
            model=model.source,
            weights=None if model.weights == "default" else model.weights,
            told=told,
            model_facts=_facts(model, done[0].outputs),
            refused=refused,
            versions=versions(),
            seed=plan.seed,
        )


def _facts(model: VisionModel, outputs: str) -> dict[str, str]:
    """What a reader should know of the model."""
    parameters = sum(tensor.numel() for tensor in model.module.parameters())
    count = f"{parameters / 1e6:.1f} million" if parameters >= 1e5 else f"{parameters:,}"
    return {
        "Model": model.source,
        "Parameters": count,
        "Input": f"{model.preprocessing.describe()}; {_constants(model)}",
        **({"Outputs": outputs} if outputs else {}),
        "Weights": f"{_weights_in_words(model)}, sha256 {model.weights_sha256[:12]}",
    }


def _constants(model: VisionModel) -> str:
    """What pixels are normalised by, and whether anybody said so."""
    mean, std = (", ".join(f"{one:.4g}" for one in row) for row in (model.preprocessing.mean, model.preprocessing.std))
    return f"mean {mean}, std {std}" + (" (assumed)" if any(map(is_caution, model.notes)) else "")


def _weights_in_words(model: VisionModel) -> str:
    words = {"default": "as they came", "random": "random, untrained"}
    return words.get(model.weights, Path(model.weights).name)


def _summarise(done: Sequence[Explanation], report: Path) -> None:
    for explanation in done:
        say(one_line(Path(explanation.file).name))
        for finding in explanation.findings:
            say(f"  {finding}")
    say(f"\nreport: {report}")


def predict_files(paths: Sequence[str], *, model: ModelChoice, k: int) -> int:
    """Prints the top classes of every image; the exit status as for `explain_files`."""
    files, missing = images_of(paths)
    if not files:
        return 2
    network = model.load()

    def work(file: str, watcher: object) -> None:
        best = predict(network, network.preprocess(file), k)[0]
        answers = "  ".join(f"{one.label or one.index} {one[2]:.3f}" for one in best)
        say(f"{one_line(file)}: {answers}")

    done, refused = for_each(files, work)
    return status(done, missing + refused)
