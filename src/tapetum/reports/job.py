"""Explains one photograph: predictions, attribution maps, a faithfulness test of every map, and findings in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from tapetum.border.running import plain, run
from tapetum.border.subjects import as_model
from tapetum.data.preprocessing import thumbnail
from tapetum.engines.scores import ModelScore, answer, as_probability, as_score
from tapetum.families.inspections import activation_maps, predict
from tapetum.families.metrics.curves import EVIDENCE
from tapetum.families.metrics.evaluating import evaluate
from tapetum.keeping.provenance import hashed_files
from tapetum.models.vision_model import VisionModel
from tapetum.progress import Watcher, watching
from tapetum.registry import lookup, methods, parameters
from tapetum.reports.budget import Budget, OutOfTimeError, cheap_first
from tapetum.reports.findings import findings
from tapetum.reports.provenance import of_model
from tapetum.reports.stages import Stages
from tapetum.types import Attribution, Evaluation, LayerError, Method, MethodError, Number, Prediction, Provenance, TargetError
from tapetum.types.explanations import AnswerKind, Explanation, Judged, Question
from tapetum.types.text import split_names

AUTO = ("grad_cam", "layer_cam", "ablation_cam", "occlusion", "integrated_gradients", "smooth_grad", "guided_backprop")
"""The default methods: quick, and based on different ideas, so that agreement between their maps is informative."""

BASELINES = ("random_attribution", "edge_attribution")

FEWER = 4
"""Number of methods for the runner-up if methods are chosen automatically: the most faithful ones for the first class."""

FINALISTS = 3
"""Number of maps that are kept of the methods tried by "best"."""

BUDGET_S = 60.0

DRAWS = 3
"""Number of random maps that are averaged for the random baseline: one alone can reach insertion - deletion = .1 by luck."""

FOUND = 0.5
"""Probability from which a label of a multi-label model counts as found."""

PHOTO_PX = 1024  # longer side of the photograph kept in an explanation: a report may have hundreds


@dataclass(frozen=True)
class JobPlan:
    """The settings of `explain`, the same for every image; with `budget_s` only the best FINALISTS of `methods` are kept."""

    target: Any = None
    methods: Sequence[str] = AUTO
    budget_s: float | None = None
    runner_up: bool = True
    evidence: bool = True
    seed: int = 0
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


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
        target: as for any method; None: the predicted class and, with `runner_up`, the second one.
        methods: attribution methods by name, several with commas between or as a sequence, "auto", or "best": as many as the
            budget allows, of which those that stand up best are kept. The random and edge baselines are always added.
        budget_s: seconds per image for the methods "best", for the first target.
        runner_up: explain the second class as well.
        evidence: measure deletion and insertion of every map.
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


def planned(wanted: Sequence[str] | str, budget_s: float = BUDGET_S, **settings: Any) -> JobPlan:
    """Makes the plan for "auto", "best", or names of attribution methods; `settings` are further fields of `JobPlan`."""
    if wanted != "best":
        names = AUTO if wanted == "auto" else tuple(split_names(wanted) if isinstance(wanted, str) else wanted)
        if not names:
            raise MethodError("methods names nothing; give names of attribution methods, auto, or best")
        for name in names:
            if lookup(name).kind != "attribution":
                known = ", ".join(method.name for method in methods(kind="attribution"))
                raise MethodError(f"{name} makes no map of what mattered; the methods are {known}")
        return JobPlan(methods=names, **settings)
    if not settings.get("evidence", True):
        raise MethodError('methods="best" chooses by evidence: leave evidence on, or name the methods')
    if not budget_s > 0:
        raise MethodError(f"budget_s is a number of seconds above 0, not {budget_s:g}")
    return JobPlan(methods=(*BASELINES, *cheap_first(AUTO)), budget_s=budget_s, **settings)


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
    explanation = Explanation(file, photo, pixels, crop, findings=(), notes=model.notes, **answered)
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
    """Returns (target, role) of each question; roles are "asked", "predicted", "also found" and "runner-up"."""
    if plan.target is not None:
        return [(as_score(model, images, plan.target).explains(1)[0], "asked")]
    if kind not in ("classes", "labels", "binary"):  # the usual target: best detection, largest region, or the one number
        return [(as_score(model, images).explains(1)[0], "predicted")]
    first, *others = predictions
    asked = [(first.index, "predicted")]
    if kind == "labels":
        return asked + [(one.index, "also found") for one in others[:1] if plan.runner_up and one[2] >= FOUND]
    if kind == "binary" or not plan.runner_up:  # a map of the other class would be the same with opposite signs
        return asked
    return asked + [(one.index, "runner-up") for one in others[:1]]


def _answered(
    model: VisionModel, images: Tensor, plan: JobPlan, targets: Sequence[tuple[Any, str]]
) -> tuple[tuple[Question, ...], tuple[Any, ...]]:
    """Computes the maps for every target, and activation maps of some layers."""
    names = tuple(dict.fromkeys([*plan.methods, *BASELINES]))
    choosing = plan.budget_s is not None or names == (*AUTO, *BASELINES)
    later = min(len(names), FEWER + len(BASELINES)) if choosing else len(names)
    stages = Stages(len(names) + later * (len(targets) - 1) + 1)
    job = _ExplainJob(model, images, plan, stages)
    with watching(stages):
        (target, role), *others = targets
        first = job.question(target, role, names, None if plan.budget_s is None else Budget(plan.budget_s))
        first = first if plan.budget_s is None else _finalists(first)
        best = [judged.attribution.method for judged in first.maps if not judged.baseline]
        fewer = (*best[:FEWER], *BASELINES) if choosing else names
        questions = (first, *(job.question(target, role, fewer) for target, role in others))
        try:
            found = tuple(activation_maps(model, images))
        except LayerError:
            found = ()  # a network without maps: that part of the report is left out
        stages.finish()
    return questions, found


def _finalists(question: Question) -> Question:
    """Returns the question with only the best maps and the baselines; `tried` has the faithfulness of all methods."""
    methods = [judged for judged in question.maps if not judged.baseline]
    tried = {judged.title: judged.faithfulness for judged in methods} | dict(question.tried)
    kept = tuple(one for one in question.maps if one.baseline or one in methods[:FINALISTS])
    return replace(question, maps=kept, tried=tried)


@dataclass(frozen=True)
class _ExplainJob:
    """Computes the parts of one explanation: preprocessed image, plan, and progress in stages."""

    model: VisionModel
    images: Tensor
    plan: JobPlan
    stages: Stages

    def question(self, target: Any, role: str, names: Sequence[str], budget: Budget | None = None) -> Question:
        """Runs the named methods for one target; returns their maps, best first, with refusals and methods out of time."""
        maps: list[Judged] = []
        refused: dict[str, str] = {}
        late: dict[str, float] = {}
        for name in names:
            timed = None if name in BASELINES else budget  # baselines always run: maps are compared with them
            with self.stages.stage():
                try:
                    with nullcontext() if timed is None else timed.share(self.stages):
                        maps.append(self._judged(target, name))
                except OutOfTimeError:
                    late[name] = math.nan
                except (MethodError, LayerError) as error:
                    refused[name] = str(error)
        maps.sort(key=lambda judged: -judged.faithfulness if math.isfinite(judged.faithfulness) else math.inf)
        score = as_score(self.model, self.images, _each(target))
        name, index = score.describe(1)[0], target if isinstance(target, int) else None
        probability, value = self._measured(score)
        return Question(name, index, probability, role, tuple(maps), refused, late, value)

    def _judged(self, target: Any, name: str) -> Judged:
        """Runs one method and measures deletion and insertion of its map."""
        method = lookup(name)
        keywords = dict(self.plan.parameters.get(name, {}))
        if any(parameter.name == "seed" for parameter in parameters(method)):
            keywords.setdefault("seed", self.plan.seed)
        with self.stages.part(0.5):
            done = run(name, self.model, self.images, target=_each(target), **keywords)
        measurable = self.plan.evidence and done.value.status[0] in ("ok", "no_positive_evidence")
        curves = self._curves(done.value, method) if measurable else {}
        numbers = {metric: float(curve.value[0]) for metric, curve in curves.items()}
        if numbers:
            numbers["faithfulness"] = numbers["insertion"] - numbers["deletion"]
        baseline, spent = "baseline" in method.laws, done.provenance.seconds
        return Judged(done.value, name, method.summary, spent, numbers, curves, baseline, done.provenance)

    def _curves(self, attribution: Attribution, method: Method) -> dict[str, Evaluation]:
        """Measures deletion and insertion of a map; for the random baseline, the mean over several random maps."""
        draws = [attribution]
        if {"baseline", "sampled"} <= method.laws:
            seeds = range(self.plan.seed + 1, self.plan.seed + DRAWS)
            more = (method.function(self.model, self.images, seed=seed) for seed in seeds)
            draws += [replace(one, explains=attribution.explains) for one in more]
        curves: dict[str, Evaluation] = {}
        with self.stages.part(0.5, times=len(draws) * len(EVIDENCE)):
            for metric, given in EVIDENCE.items():
                measured: list[Any] = [evaluate(self.model, self.images, one, [metric], **given)[metric] for one in draws]
                value, curve = (torch.stack([getattr(one, name) for one in measured]).mean(0) for name in ("value", "curve"))
                curves[metric] = replace(measured[0], value=value, curve=curve)
        return curves

    def _measured(self, score: ModelScore) -> tuple[float | None, float | None]:
        """Returns (probability, None) of the target, or (None, score) if it has none: what deletion and insertion measure."""
        followed = as_probability(self.model, self.images, score.explains(1))
        with torch.no_grad():
            value = float(followed(self.images)[0])
        return (value, None) if followed.is_probability else (None, value)


def _each(target: Any) -> Any:
    """Returns a target for a batch of one image: a callable unchanged, anything else in a list."""
    return target if callable(target) else [target]
