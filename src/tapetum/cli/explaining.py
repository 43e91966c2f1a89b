"""`tapetum explain` and `tapetum predict`: many files, one report, and the exit status of the contract."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tapetum.cli.terminal import bar, fail, note, say
from tapetum.data.images import read_image
from tapetum.data.sources import find_images
from tapetum.engines.scores import as_score
from tapetum.families.inspections import predict
from tapetum.families.running import versions
from tapetum.models.vision_model import VisionModel
from tapetum.reports.explanation import Explanation
from tapetum.reports.job import AUTO, Plan, checked_methods, explain_one
from tapetum.reports.machine import as_json, write_json
from tapetum.reports.page import write_report
from tapetum.reports.pictures import pictures
from tapetum.types import Cancelled, ImageError, TapetumError


def explain_files(
    paths: Sequence[str],
    model: VisionModel,
    target: Any,
    methods: Sequence[str] | Literal["auto"],
    out: str,
    as_json_too: bool,
    settings: Mapping[str, Any],
) -> int:
    """Explains every image and writes the report; 0, or 1 if some were refused, or 2 if all were."""
    plan = Plan(target=target, methods=checked_methods(AUTO if methods == "auto" else methods), **settings)
    _check_target(model, target)
    folder = _checked_folder(Path(out))
    files = find_images(paths)
    done, refused = _explained(model, files, plan)
    if not done:
        return 2
    report = _written(folder, done, refused, model, plan)
    if as_json_too:
        say((folder / "report.json").read_text("utf-8"))
    else:
        _summarise(done, report)
    return 1 if refused else 0


def _check_target(model: VisionModel, target: Any) -> None:
    """A wrong target is wrong for every image: say so once, before any work."""
    if target is not None:
        import torch

        size, channels = model.preprocessing.size, len(model.preprocessing.mean)
        as_score(model, torch.zeros(1, channels, size, size, device=model.device, dtype=model.dtype), target)


def _explained(model: VisionModel, files: Sequence[str], plan: Plan) -> tuple[list[Explanation], list[tuple[str, str]]]:
    done: list[Explanation] = []
    refused: list[tuple[str, str]] = []
    for i, file in enumerate(files):
        title = Path(file).name if len(files) == 1 else f"{i + 1}/{len(files)} {Path(file).name}"
        try:
            with bar(title) as watcher:
                done.append(explain_one(model, file, plan, watcher))
        except (KeyboardInterrupt, Cancelled):
            if not done:
                raise
            refused += [(left, "not done: stopped before its turn") for left in files[i:]]
            note(f"stopped: {len(done)} of {len(files)} images are in the report")
            break
        except TapetumError as error:
            fail(str(error) if file in str(error) else f"{file}: {error}")
            refused.append((file, str(error)))
    return done, refused


def _checked_folder(folder: Path) -> Path:
    """A folder that is new, empty, or an earlier report: nothing else is ever replaced."""
    if folder.is_file():
        raise TapetumError(f"--out {folder} is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "report.json").is_file():
        raise TapetumError(f"--out {folder} holds other files; give a new or an empty folder")
    if not os.access(_existing_parent(folder), os.W_OK):
        raise TapetumError(f"--out {folder} cannot be written")
    return folder


def _existing_parent(folder: Path) -> Path:
    return next(parent for parent in [folder, *folder.absolute().parents] if parent.exists())


@contextmanager
def _complete(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the final name only when the block has succeeded."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield work
        work.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        work.replace(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _written(
    folder: Path,
    done: Sequence[Explanation],
    refused: Sequence[tuple[str, str]],
    model: VisionModel,
    plan: Plan,
) -> Path:
    with _complete(folder) as work:
        names = pictures(work, done)
        content = as_json(done, names, model=model.source, refused=refused, versions=versions(), seed=plan.seed)
        write_json(work / "report.json", content)
        write_report(
            work,
            done,
            model=model.source,
            model_facts=_facts(model),
            refused=refused,
            versions=versions(),
            seed=plan.seed,
        )
    return folder / "report.html"


def _facts(model: VisionModel) -> dict[str, str]:
    """What a reader should know of the model."""
    parameters = sum(tensor.numel() for tensor in model.module.parameters())
    return {
        "Model": model.source,
        "Parameters": f"{parameters / 1e6:.1f} million",
        "Input": model.preprocessing.describe(),
        "Weights": f"sha256 {model.weights_sha256[:12]}",
    }


def _summarise(done: Sequence[Explanation], report: Path) -> None:
    for explanation in done:
        say(f"{Path(explanation.file).name}")
        for finding in explanation.findings:
            say(f"  {finding}")
    say(f"\nreport: {report}")


def predict_files(paths: Sequence[str], model: VisionModel, k: int) -> int:
    """Prints the top classes of every image."""
    files = find_images(paths)
    refused = 0
    for file in files:
        try:
            best = predict(model, model.preprocess(read_image(file)), k)[0]
        except ImageError as error:
            fail(str(error))
            refused += 1
            continue
        answers = "  ".join(f"{p.label or p.index} {p.probability:.3f}" for p in best)
        say(f"{file}: {answers}")
    return 2 if refused == len(files) else 1 if refused else 0
