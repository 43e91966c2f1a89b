"""Explains one photograph: predictions, attribution maps, a faithfulness test of every map, and findings in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from torch import Tensor

from tapetum.border.running import plain
from tapetum.border.subjects import as_model
from tapetum.data.preprocessing import thumbnail
from tapetum.engines.scores import answer, as_score
from tapetum.families.health.doctor import serious
from tapetum.families.inspections import activation_maps, predict
from tapetum.families.nearness import near_among
from tapetum.keeping.provenance import hashed_files
from tapetum.models.vision_model import VisionModel
from tapetum.progress import Watcher, watching
from tapetum.reports.asking import Inquiry
from tapetum.reports.budget import Budget
from tapetum.reports.findings import findings
from tapetum.reports.plan import AUTO, BASELINES, BUDGET_S, FEWER, JobPlan, planned
from tapetum.reports.provenance import of_model
from tapetum.reports.stages import Stages
from tapetum.types import LayerError, Number, Prediction, Provenance, TargetError, union
from tapetum.types.explanations import TOGETHER, AnswerKind, Explanation, Question

RIVAL = 0.25
"""Share of the highest probability above which the second class is a rival, and is explained, too."""

FOUND = 0.5
"""Probability from which a label of a multi-label model counts as found."""

PHOTO_PX = 1024  # longer side of the photograph kept in an explanation: a report may have hundreds


def explain(
    model: Any,
    source: Any,
    *,
    target: Any = None,
    methods: Sequence[str] | str = "auto",
    budget_s: float = BUDGET_S,
    runner_up: bool = True,
    evidence: bool = True,
    seed: int = 0,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Watcher | None = None,
) -> Explanation:
    """Explains one image: predictions, what the layers found, and tested maps of what mattered, best first.

    Args:
        model: a VisionModel, a module, or a name that `load` takes.
        source: what `read_image` takes.
        target: as for any method; None: the predicted class; the union of near classes, where the answer is split among
            them; and, with `runner_up`, a second class that is a rival.
        methods: attribution methods by name, several with commas between or as a sequence, "auto", or "best": as many as the
            budget allows, of which the most faithful are kept. The random and edge baselines are always added.
        budget_s: seconds per image for the methods "best", for the first target.
        runner_up: explain the second class as well, where it is a rival: more than a quarter as probable as the first.
        evidence: measure every map, and judge which stand up.
        seed: random seed.
        parameters: {method: its own keywords}.
        progress: called with every `Progress`; returning False stops the job with `Cancelled`.
    """
    settings = {"target": target, "runner_up": runner_up, "evidence": evidence, "seed": seed, "parameters": parameters or {}}
    return explain_one(as_model(model), source, planned(methods, budget_s, **settings), progress)


def origin(model: VisionModel, file: str, plan: JobPlan) -> Provenance:
    """Returns the provenance of an explanation before it is computed, to compare with a saved one."""
    program = model.source.rpartition(":")[0]  # the file with the model's code, if any: its checksum is recorded
    further = [str(one) for one in (plan.target, *model.settings.get("extra", {}).values())]
    parameters = {
        "target": plain(plan.target),
        "methods": ", ".join(plan.methods) if plan.budget_s is None else "best",
        "budget_s": plan.budget_s,
        "runner_up": plan.runner_up,
        "evidence": plan.evidence,
        "seed": plan.seed,
        "own": {name: {key: plain(one) for key, one in own.items()} for name, own in plan.parameters.items()},
    }
    unknown = {"target": (), "images_sha256": "", "started": "", "seconds": 0.0}
    known = {"seed": plan.seed, "subject": (file,), "files": hashed_files([file, program, *further])}
    return Provenance("explain", parameters, **unknown, **known, **of_model(model))


def explain_one(model: VisionModel, source: Any, plan: JobPlan, progress: Watcher | None = None) -> Explanation:
    """Explains one image by a plan; raises a `TapetumError` if that is not possible."""
    with nullcontext() if progress is None else watching(progress):
        return _explained(model, source, plan)


def _explained(model: VisionModel, source: Any, plan: JobPlan) -> Explanation:
    with model.preprocessing.opened(source) as pixels:
        photo, images = thumbnail(pixels, PHOTO_PX), model.prepared(pixels)
    kind, outputs = answer_in_words(model, images, plan.target)
    predictions = tuple(predict(model, images)[0]) if kind in OF_IMAGES else ()
    questions, found = _answered(model, images, plan, _targets(model, images, plan, predictions, kind))
    file = str(source) if isinstance(source, (str, bytes)) or hasattr(source, "__fspath__") else "image"
    pixels, crop = model.denormalize(images).cpu(), model.preprocessing.describe()
    answered = {"predictions": predictions, "found": found, "questions": questions, "answer": kind, "outputs": outputs}
    with watching(None):  # the quick checks take less than a stage
        notes = tuple(dict.fromkeys((*model.notes, *serious(model, images))))
    explanation = Explanation(file, photo, pixels, crop, findings=(), notes=notes, **answered)
    return replace(explanation, findings=findings(explanation))


OF_IMAGES = ("classes", "labels", "binary", "numbers")
"""Kinds of answer that apply to the whole image, not to places or boxes in it."""


def answer_in_words(model: VisionModel, images: Tensor, target: Any = None) -> tuple[AnswerKind, str]:
    """Returns the kind of the model's answer and what its numbers mean; refuses an unknown kind unless a target is given."""
    if model.encode_text is not None:
        return "other", "an embedding"
    try:
        given = answer(model, images)
    except TargetError:
        if target is None:
            raise
        return "other", ""
    if given.kind == "detections":
        return "detections", "boxes with labels and scores"
    return ("maps" if given.kind == "maps" else given.read.kind), given.read.words


def _targets(
    model: VisionModel, images: Tensor, plan: JobPlan, predictions: Sequence[Prediction | Number], kind: AnswerKind
) -> list[tuple[Any, str]]:
    """Returns (target, role) of each question; roles are those of `Question`."""
    if plan.target is not None:
        return [(as_score(model, images, plan.target).explains(1)[0], "asked")]
    if kind not in ("classes", "labels", "binary"):  # the usual target: best detection, largest region, or the one number
        return [(as_score(model, images).explains(1)[0], "predicted")]
    first, *others = predictions
    asked: list[tuple[Any, str]] = [(first.index, "predicted")]
    if kind == "labels":
        return asked + [(one.index, "also found") for one in others[:1] if plan.runner_up and one[2] >= FOUND]
    if kind == "binary":  # a map of the other class would be the same with opposite signs
        return asked
    near = near_among(model, [one for one in predictions if isinstance(one, Prediction)])
    asked += [(union(*near), TOGETHER)] if near else []
    return asked + [(one.index, "runner-up") for one in others[:1] if plan.runner_up and one[2] > RIVAL * first[2]]


def _answered(
    model: VisionModel, images: Tensor, plan: JobPlan, targets: Sequence[tuple[Any, str]]
) -> tuple[tuple[Question, ...], tuple[Any, ...]]:
    """Computes the maps for every target with their verdicts, and activation maps of some layers."""
    names = tuple(dict.fromkeys([*plan.methods, *BASELINES]))
    choosing = plan.budget_s is not None or names == (*AUTO, *BASELINES)
    counts = [min(len(names), few + len(BASELINES)) if choosing else len(names) for few in FEWER[: len(targets) - 1]]
    stages = Stages(len(names) + sum(counts) + len(targets) + 1)
    with watching(stages):
        inquiry = Inquiry(model, images, plan, stages, [target for target, _ in targets])
        budget = None if plan.budget_s is None else Budget(plan.budget_s)
        first = inquiry.question(0, targets[0][1], names, budget)
        own = sorted((judged for judged in first.maps if not judged.baseline), key=lambda judged: not judged.is_reason)
        best = [judged.attribution.method for judged in own]
        further = [(*best[:few], *BASELINES) if choosing else names for few in FEWER[: len(targets) - 1]]
        rest = enumerate(zip(targets[1:], further, strict=True), 1)
        questions = (first, *(inquiry.question(i, role, fewer) for i, ((_, role), fewer) in rest))
        try:
            found = tuple(activation_maps(model, images))
        except LayerError:
            found = ()  # a network without maps: that part of the report is left out
        stages.finish()
    return questions, found
