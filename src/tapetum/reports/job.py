"""The main job: look at one photograph, ask the model why, test every answer, and say in words what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from tapetum.data.images import read_image
from tapetum.engines.scores import as_score, describe_targets, explained
from tapetum.families.border import as_model
from tapetum.families.inspections import activation_maps, predict
from tapetum.families.metrics import evaluate
from tapetum.families.running import run
from tapetum.models.vision_model import VisionModel
from tapetum.progress import Progress, Watcher, watching
from tapetum.registry import lookup, methods, parameters
from tapetum.reports.explanation import Explanation, Judged, Question
from tapetum.reports.findings import findings
from tapetum.types import Contrast, LayerError, MethodError, Prediction

AUTO = ("grad_cam", "layer_cam", "ablation_cam", "occlusion", "integrated_gradients", "smooth_grad", "guided_backprop")
"""The default: quick, and each from another idea, so that agreement between them means something."""

BASELINES = ("random_attribution", "edge_attribution")

METRICS: Mapping[str, Mapping[str, Any]] = {
    "deletion": {"cells": 14, "n_steps": 28, "fill": "blur"},
    "insertion": {"cells": 14, "n_steps": 28, "fill": "blur"},
}
"""Squares of 16 px (of 224), seven a step: single pixels reward maps that make adversarial noise, and grey squares make a
picture that no network was trained on."""


@dataclass(frozen=True)
class Plan:
    """What to do for every image.

    target      as `as_score` takes it, or None for the predicted class
    methods     names, or AUTO
    runner_up   also ask why the second class, when no target is given
    parameters  {method: its own keywords}
    evidence    measure deletion and insertion, and order the maps by them
    """

    target: Any = None
    methods: Sequence[str] = AUTO
    runner_up: bool = True
    evidence: bool = True
    seed: int = 0
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def explain(
    model: Any,
    source: Any,
    *,
    target: Any = None,
    methods: Sequence[str] | Literal["auto"] = "auto",
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
        methods: names of attribution methods, or "auto". The random and edge baselines are always added.
        evidence: measure deletion and insertion of every map.
        seed: of everything random.
        parameters: {method: its own keywords}.
        progress: called with every `Progress`; returning False stops the job with `Cancelled`.
    """
    chosen = AUTO if methods == "auto" else tuple(methods)
    return explain_one(as_model(model), source, Plan(target, chosen, runner_up, evidence, seed, parameters or {}), progress)


def explain_one(model: VisionModel, source: Any, plan: Plan, progress: Watcher | None = None) -> Explanation:
    """One image by a plan; a `TapetumError` says why it cannot be done."""
    names = checked_methods(plan.methods)
    photo = read_image(source)
    images = model.preprocess(photo)
    predictions = tuple(predict(model, images)[0])
    targets = _targets(model, images, plan, predictions)
    stages = _Stages(progress, len(targets) * len(names))
    with watching(stages):
        questions = tuple(_question(model, images, target, role, names, plan, stages) for target, role in targets)
        found = _found(model, images)
    stages.finish()
    pixels = model.denormalize(images).cpu()
    asked = Explanation(_name(source), photo, pixels, model.preprocessing.describe(), predictions, found, questions, ())
    return Explanation(**{**vars(asked), "findings": findings(asked)})


def checked_methods(names: Sequence[str]) -> tuple[str, ...]:
    """The attribution methods asked for, each once, and the baselines."""
    for name in names:
        if lookup(name).kind != "attribution":
            known = ", ".join(method.name for method in methods(kind="attribution"))
            raise MethodError(f"{name} makes no map of what mattered; the methods are {known}")
    return tuple(dict.fromkeys([*names, *BASELINES]))


def _targets(model: VisionModel, images: Tensor, plan: Plan, predictions: Sequence[Prediction]) -> list[tuple[Any, str]]:
    if plan.target is not None:
        return [(explained(as_score(model, images, plan.target), 1)[0], "asked")]
    first = [(predictions[0].index, "predicted")]
    return [*first, (predictions[1].index, "runner-up")] if plan.runner_up and len(predictions) > 1 else first


def _question(
    model: VisionModel, images: Tensor, target: Any, role: str, names: Sequence[str], plan: Plan, stages: _Stages
) -> Question:
    maps: list[Judged] = []
    refused: dict[str, str] = {}
    for name in names:
        with stages.stage():
            try:
                maps.append(_judged(model, images, target, name, plan))
            except (MethodError, LayerError) as error:
                refused[name] = str(error)
    maps.sort(key=lambda judged: -judged.faithfulness if judged.faithfulness == judged.faithfulness else float("inf"))
    index = target if isinstance(target, int) else None
    title = describe_targets(as_score(model, images, target if callable(target) else [target]), 1)[0]
    return Question(title, index, _probability(model, images, target), role, tuple(maps), refused)


def _judged(model: VisionModel, images: Tensor, target: Any, name: str, plan: Plan) -> Judged:
    method = lookup(name)
    keywords = dict(plan.parameters.get(name, {}))
    if any(parameter.name == "seed" for parameter in parameters(method)):
        keywords.setdefault("seed", plan.seed)
    done = run(name, model, images, target=target if callable(target) else [target], **keywords)
    curves = {}
    if plan.evidence and done.value.status[0] in ("ok", "no_positive_evidence"):
        for metric, settings in METRICS.items():
            curves |= evaluate(model, images, done.value, [metric], **settings)
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


def _probability(model: VisionModel, images: Tensor, target: Any) -> float | None:
    if not isinstance(target, (int, Contrast)):
        return None
    return float(as_score(model, images, [target], "probability")(images)[0])


def _found(model: VisionModel, images: Tensor) -> tuple[Any, ...]:
    try:
        return tuple(activation_maps(model, images))
    except LayerError:
        return ()  # a network without maps: the report says nothing rather than something made up


def _name(source: Any) -> str:
    return str(source) if isinstance(source, (str, bytes)) or hasattr(source, "__fspath__") else "image"


# --- progress: methods report their own steps; the job is a sequence of stages


class _Stages:
    """A watcher that turns the steps inside each stage into one rising count for the whole job (in thousandths)."""

    def __init__(self, watcher: Watcher | None, count: int) -> None:
        self.watcher, self.count, self.done = watcher, count, 0

    def __call__(self, event: Progress) -> bool | None:
        inner = event.done / max(1, event.total)
        return self._tell(self.done + 0.5 * inner)

    @contextmanager
    def stage(self) -> Iterator[None]:
        yield
        self.done += 1
        self._tell(self.done)

    def finish(self) -> None:
        self._tell(self.count)

    def _tell(self, done: float) -> bool | None:
        if self.watcher is None:
            return None
        return self.watcher(Progress(round(1000 * done), 1000 * self.count, "thousandths of the job"))
