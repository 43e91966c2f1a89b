"""The main job: look at one photograph, ask the model why, test every answer, and say in words what came out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from tapetum.border.methods import as_model
from tapetum.border.running import plain, run
from tapetum.data.preprocessing import thumbnail
from tapetum.engines.scores import answer, as_probability, as_score, describe_targets, explained
from tapetum.families.inspections import activation_maps, predict
from tapetum.families.metrics import EVIDENCE, evaluate
from tapetum.keeping.provenance import hashed_files
from tapetum.models.vision_model import VisionModel
from tapetum.progress import Progress, Watcher, report, watching
from tapetum.registry import lookup, methods, parameters
from tapetum.reports.budget import Budget, OutOfTimeError, cheap_first
from tapetum.reports.findings import findings
from tapetum.reports.provenance import of_model
from tapetum.types import Attribution, Evaluation, LayerError, MethodError, Number, Prediction, Provenance, TargetError
from tapetum.types.explanations import AnswerKind, Explanation, Judged, Question

AUTO = ("grad_cam", "layer_cam", "ablation_cam", "occlusion", "integrated_gradients", "smooth_grad", "guided_backprop")
"""The default: quick, and each from another idea, so that agreement between them means something."""

BASELINES = ("random_attribution", "edge_attribution")

FEWER = 4
"""Methods for the runner-up when the methods are chosen automatically: those that stood up best for the first class."""

FINALISTS = 3
"""Maps that are kept of the methods tried by "best"."""

BUDGET_S = 60.0

DRAWS = 3
"""Random maps are measured as the mean of so many: one alone can reach .1 by luck (insertion - deletion, measured)."""

FOUND = 0.5
"""A label that may be true beside others is found from this probability on."""

PHOTO_PX = 1024  # the longer side of the photograph that is kept: reports of hundreds of images must fit into memory


@dataclass(frozen=True)
class Plan:
    """What to do for every image.

    target      as `as_score` takes it, or None for the predicted class
    methods     names, or AUTO
    budget_s    of "best": as many methods as this allows are tried, and the FINALISTS that stand up best are kept
    runner_up   also ask why the second class, when no target is given
    parameters  {method: its own keywords}
    evidence    measure deletion and insertion, and order the maps by them
    """

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
    """Everything about one image: predictions, what the layers found, and tested maps of what mattered, best first.

    Args:
        model: a VisionModel, a module, or a name that `load` takes.
        source: what `read_image` takes.
        target: as for any method; None: the predicted class and, with `runner_up`, the second one.
        methods: a name or several of attribution methods, "auto", or "best": as many as the budget allows, of which those
            that stand up best are kept. The random and edge baselines are always added.
        budget_s: seconds for "best", for the first target.
        evidence: measure deletion and insertion of every map.
        seed: of everything random.
        parameters: {method: its own keywords}.
        progress: called with every `Progress`; returning False stops the job with `Cancelled`.
    """
    settings = {"target": target, "runner_up": runner_up, "evidence": evidence, "seed": seed, "parameters": parameters or {}}
    return explain_one(as_model(model), source, planned(methods, budget_s, **settings), progress)


def origin(model: VisionModel, file: str, plan: Plan) -> Provenance:
    """What an explanation will have been made with, before it is."""
    program = model.source.rpartition(":")[0]  # the file of a model's code: other code is another model
    further = [str(one) for one in (plan.target, *model.settings.get("extra", {}).values())]
    return Provenance(
        method="explain",
        parameters={
            "target": plain(plan.target),
            "methods": ", ".join(plan.methods) if plan.budget_s is None else "best",
            "budget_s": plan.budget_s,
            "runner_up": plan.runner_up,
            "evidence": plan.evidence,
            "seed": plan.seed,
            "own": {name: {key: plain(one) for key, one in own.items()} for name, own in plan.parameters.items()},
        },
        target=(),
        images_sha256="",
        seed=plan.seed,
        started="",
        seconds=0.0,
        subject=(file,),
        files=hashed_files([file, program, *further]),
        **of_model(model),
    )


def planned(wanted: Sequence[str] | str, budget_s: float = BUDGET_S, **settings: Any) -> Plan:
    """The plan for "auto", "best", or the names of attribution methods."""
    if wanted != "best":
        names = AUTO if wanted == "auto" else (wanted,) if isinstance(wanted, str) else tuple(wanted)
        for name in names:
            if lookup(name).kind != "attribution":
                known = ", ".join(method.name for method in methods(kind="attribution"))
                raise MethodError(f"{name} makes no map of what mattered; the methods are {known}")
        return Plan(methods=names, **settings)
    if not settings.get("evidence", True):
        raise MethodError('methods="best" chooses by evidence: leave evidence on, or name the methods')
    if not budget_s > 0:
        raise MethodError(f"budget_s is a number of seconds above 0, not {budget_s:g}")
    return Plan(methods=(*BASELINES, *cheap_first(AUTO)), budget_s=budget_s, **settings)


def explain_one(model: VisionModel, source: Any, plan: Plan, progress: Watcher | None = None) -> Explanation:
    """One image by a plan; a `TapetumError` says why it cannot be done."""
    with nullcontext() if progress is None else watching(progress):
        return _explained(model, source, plan)


def _explained(model: VisionModel, source: Any, plan: Plan) -> Explanation:
    names = tuple(dict.fromkeys([*plan.methods, *BASELINES]))
    with model.preprocessing.opened(source) as pixels:
        photo, images = thumbnail(pixels, PHOTO_PX), model.prepared(pixels)
    kind, outputs = answer_in_words(model, images, plan.target)
    predictions = tuple(predict(model, images)[0]) if kind in OF_IMAGES else ()
    targets = _targets(model, images, plan, predictions, kind)
    choosing = plan.budget_s is not None or _is_auto(names)
    later = min(len(names), FEWER + len(BASELINES)) if choosing else len(names)
    stages = _Stages(len(names) + later * (len(targets) - 1) + 1)
    with watching(stages):
        questions: list[Question] = []
        for target, role in targets:
            chosen = _fewer(questions[0]) if questions and choosing else names
            budget = Budget(plan.budget_s) if plan.budget_s and not questions else None
            question = _question(model, images, target, role, chosen, plan, stages, budget)
            questions.append(question if budget is None else _finalists(question))
        found = _found(model, images)
        stages.finish()
    asked = Explanation(
        file=_name(source),
        photo=photo,
        pixels=model.denormalize(images).cpu(),
        crop=model.preprocessing.describe(),
        predictions=predictions,
        found=found,
        questions=tuple(questions),
        findings=(),
        notes=model.notes,
        answer=kind,
        outputs=outputs,
    )
    return replace(asked, findings=findings(asked))


OF_IMAGES = ("classes", "labels", "binary", "numbers")
"""Answers that are about the whole image."""


def answer_in_words(model: VisionModel, images: Tensor, target: Any = None) -> tuple[AnswerKind, str]:
    """What the model gives, and what its numbers are; with a target of one's own it may be anything."""
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


def _is_auto(names: Sequence[str]) -> bool:
    return tuple(names) == (*AUTO, *BASELINES)


def _fewer(question: Question) -> tuple[str, ...]:
    """The methods that stood up best for another class, and the baselines."""
    best = [judged.attribution.method for judged in question.maps if not judged.baseline]
    return (*best[:FEWER], *BASELINES)


def _finalists(question: Question) -> Question:
    """The best maps and the baselines; what all others measured stays in `tried`."""
    tried = {judged.title: judged.faithfulness for judged in question.maps if not judged.baseline} | dict(question.tried)
    best = [judged for judged in question.maps if not judged.baseline][:FINALISTS]
    return replace(question, maps=tuple(m for m in question.maps if m.baseline or m in best), tried=tried)


def _targets(
    model: VisionModel, images: Tensor, plan: Plan, predictions: Sequence[Prediction | Number], kind: AnswerKind
) -> list[tuple[Any, str]]:
    if plan.target is not None:
        return [(explained(as_score(model, images, plan.target), 1)[0], "asked")]
    if kind not in ("classes", "labels", "binary"):  # the surest detection, the largest region, the one number
        return [(explained(as_score(model, images), 1)[0], "predicted")]
    first, *others = predictions
    asked = [(first.index, "predicted")]
    if kind == "labels":
        return asked + [(one.index, "also found") for one in others[:1] if plan.runner_up and one[2] >= FOUND]
    if kind == "binary" or not plan.runner_up:  # the other name's map is this one with the signs changed
        return asked
    return asked + [(one.index, "runner-up") for one in others[:1]]


def _question(
    model: VisionModel,
    images: Tensor,
    target: Any,
    role: str,
    names: Sequence[str],
    plan: Plan,
    stages: _Stages,
    budget: Budget | None = None,
) -> Question:
    maps: list[Judged] = []
    refused: dict[str, str] = {}
    late: dict[str, float] = {}
    for name in names:
        timed = None if name in BASELINES else budget  # without the baselines there is nothing to beat
        with stages.stage():
            try:
                with nullcontext() if timed is None else timed.share(stages):
                    maps.append(_judged(model, images, target, name, plan, stages))
            except OutOfTimeError:
                late[name] = math.nan
            except (MethodError, LayerError) as error:
                refused[name] = str(error)
    maps.sort(key=lambda judged: -judged.faithfulness if judged.faithfulness == judged.faithfulness else float("inf"))
    index = target if isinstance(target, int) else None
    score = as_score(model, images, target if callable(target) else [target])
    probability, value = _measured(model, images, explained(score, 1))
    return Question(describe_targets(score, 1)[0], index, probability, role, tuple(maps), refused, late, value)


def _judged(model: VisionModel, images: Tensor, target: Any, name: str, plan: Plan, stages: _Stages) -> Judged:
    method = lookup(name)
    keywords = dict(plan.parameters.get(name, {}))
    if any(parameter.name == "seed" for parameter in parameters(method)):
        keywords.setdefault("seed", plan.seed)
    with stages.part(0.5):
        done = run(name, model, images, target=target if callable(target) else [target], **keywords)
    curves = {}
    if plan.evidence and done.value.status[0] in ("ok", "no_positive_evidence"):
        tried = [done.value]
        if {"baseline", "sampled"} <= method.laws:
            tried += [method.function(model, images, seed=plan.seed + 1 + i) for i in range(DRAWS - 1)]
            tried = [replace(one, explains=done.value.explains) for one in tried]
        with stages.part(0.5, times=len(tried) * len(EVIDENCE)):
            curves = {metric: _mean([_tested(model, images, one, metric) for one in tried]) for metric in EVIDENCE}
    numbers = {metric: float(curve.value[0]) for metric, curve in curves.items()}
    if numbers:
        numbers["faithfulness"] = numbers["insertion"] - numbers["deletion"]
    return Judged(
        attribution=done.value,
        title=name,
        summary=method.summary,
        seconds=done.provenance.seconds,
        evidence=numbers,
        curves=curves,
        baseline="baseline" in method.laws,
        provenance=done.provenance,
    )


def _tested(model: VisionModel, images: Tensor, attribution: Attribution, metric: str) -> Evaluation:
    return evaluate(model, images, attribution, [metric], **EVIDENCE[metric])[metric]


def _mean(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Of several draws of a random map: one draw alone may be lucky."""
    value = torch.stack([one.value for one in evaluations]).mean(0)
    return replace(evaluations[0], value=value, curve=torch.stack([one.curve for one in evaluations]).mean(0))


def _measured(model: VisionModel, images: Tensor, explains: Sequence[Any]) -> tuple[float | None, float | None]:
    """The target's probability, else its score: what deletion and insertion follow."""
    score = as_probability(model, images, explains)
    with torch.no_grad():
        value = float(score(images)[0])
    return (value, None) if score.is_probability else (None, value)


def _found(model: VisionModel, images: Tensor) -> tuple[Any, ...]:
    try:
        return tuple(activation_maps(model, images))
    except LayerError:
        return ()  # a network without maps: the report says nothing rather than something made up


def _name(source: Any) -> str:
    return str(source) if isinstance(source, (str, bytes)) or hasattr(source, "__fspath__") else "image"


# --- progress: methods report their own steps; the job is a sequence of stages


class _Stages:
    """A watcher that turns the steps of each stage into one rising count for the whole job (in thousandths).

    It tells whoever watched when it was made, who may stop the job by returning False.
    """

    def __init__(self, count: int) -> None:
        self.count, self.told = count, -1
        self.begun, self.share, self.times = 0.0, 0.0, 1
        self.outside = copy_context()
        self._tell(0.0)

    def __call__(self, event: Progress) -> None:
        step = self.share / self.times
        inside = step * event.done / max(1, event.total)
        self._tell(self.begun + inside)
        if event.done == event.total and self.times > 1:  # one of several rounds is over
            self.begun, self.share, self.times = self.begun + step, self.share - step, self.times - 1

    @contextmanager
    def stage(self) -> Iterator[None]:
        """One of `count` equal stages, finished at the end of the block whatever parts it had."""
        end = int(self.begun) + 1.0
        yield
        self._reach(end)

    @contextmanager
    def part(self, share: float, times: int = 1) -> Iterator[None]:
        """A share of the stage, through which the steps inside the block go so many times."""
        end = self.begun + share
        self.share, self.times = share, times
        yield
        self._reach(end)

    def finish(self) -> None:
        self._reach(float(self.count))

    def _reach(self, place: float) -> None:
        self.begun, self.share, self.times = place, 0.0, 1
        self._tell(place)

    def _tell(self, done: float) -> None:
        now = min(round(1000 * done), 1000 * self.count)
        if now > self.told:  # a method may go through its steps more than once
            self.told = now
            self.outside.run(report, now, 1000 * self.count, "thousandths of the job")
