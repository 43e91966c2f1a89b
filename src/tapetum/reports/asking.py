"""Answers the questions of one explanation: runs the methods for each target, tests their maps, and judges them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tapetum.border.running import run
from tapetum.engines.scores import as_probability, as_score, gives_classes, probabilities
from tapetum.families.comparisons import overlap
from tapetum.families.verdicts import Trials, ask
from tapetum.models.vision_model import VisionModel
from tapetum.registry import lookup, parameters
from tapetum.reports.budget import Budget, OutOfTimeError
from tapetum.reports.plan import BASELINES, FINALISTS, JobPlan
from tapetum.reports.stages import Stages
from tapetum.types import Attribution, LayerError, MethodError
from tapetum.types.explanations import Judged, Question

LEVEL = 0.05
"""Probability that some random map passes for one of a question's maps."""

CLASSLESS = "backprops"
"""Family of methods that often draw the same map for every class; each map of theirs that stands up is checked for that."""

STREAMS = 20
"""About how many series of passes a verdict has; only progress depends on it."""


class Inquiry:
    """The parts of one explanation that its questions share: the preprocessed image, the trials, and progress in stages."""

    def __init__(self, model: VisionModel, images: Tensor, plan: JobPlan, stages: Stages, targets: Sequence[Any]) -> None:
        self.model, self.images, self.plan, self.stages, self.targets = model, images, plan, stages, targets
        built = [as_score(model, images, each(target)) for target in targets]
        self.names = [score.describe(1)[0] for score in built]
        self.scores = [as_probability(model, images, score.explains(1)) for score in built]
        self.trials = Trials(model, images, self.scores, plan.seed) if plan.evidence else None
        self.unlikely, self._of_unlikely = self._unlikely(), dict[str, Attribution]()

    def question(self, i: int, role: str, names: Sequence[str], budget: Budget | None = None) -> Question:
        """Runs the named methods for target i; returns their maps, most faithful first, with refusals and late methods."""
        maps: list[Judged] = []
        refused: dict[str, str] = {}
        late: dict[str, float] = {}
        for name in names:
            timed = None if name in BASELINES else budget  # baselines always run: they are shown beside the maps
            with self.stages.stage():
                try:
                    with nullcontext() if timed is None else timed.share(self.stages):
                        maps.append(self._tested(i, name))
                except OutOfTimeError:
                    late[name] = math.nan
                except (MethodError, LayerError) as error:
                    refused[name] = str(error)
        maps.sort(key=lambda judged: -judged.faithfulness if math.isfinite(judged.faithfulness) else math.inf)
        found = self._question(i, role, maps, refused, late)
        found = found if budget is None else finalists(found)
        with self.stages.stage():
            return replace(found, maps=self._judged(i, found.maps, len(maps)))

    def _question(self, i: int, role: str, maps: Sequence[Judged], refused: dict[str, str], late: dict[str, float]) -> Question:
        target, score = self.targets[i], self.scores[i]
        index = target if isinstance(target, int) else None
        if self.trials is None:
            with torch.no_grad():
                value, hidden = float(score(self.images)[0]), dict[str, float]()
        else:
            value = float(self.trials.whole[i])
            hidden = {fill: float(values[i]) for fill, values in self.trials.hidden.items()}
        probability, number = (value, None) if score.is_probability else (None, value)
        return Question(self.names[i], index, probability, role, tuple(maps), refused, late, number, hidden)

    def _tested(self, i: int, name: str) -> Judged:
        """Runs one method and measures deletion, insertion and faithfulness of its map."""
        method, trials = lookup(name), self.trials
        with self.stages.part(0.7):
            done = self._run(name, self.targets[i])
        numbers: dict[str, float] = {}
        curves = {}
        if trials is not None and done.value.status[0] in ("ok", "no_positive_evidence"):
            with self.stages.part(0.3, times=2):
                first, curves = trials.evidence(done.value.ranking(trials.size)[0].detach(), i)
            numbers = {metric: float(curve.value[0]) for metric, curve in curves.items()} | {"faithfulness": first}
        baseline = "baseline" in method.laws
        return Judged(done.value, name, method.summary, done.provenance.seconds, numbers, curves, baseline, done.provenance)

    def _run(self, name: str, target: Any) -> Any:
        keywords = dict(self.plan.parameters.get(name, {}))
        if any(parameter.name == "seed" for parameter in parameters(lookup(name))):
            keywords.setdefault("seed", self.plan.seed)
        return run(name, self.model, self.images, target=each(target), **keywords)

    def _judged(self, i: int, maps: Sequence[Judged], tried: int) -> tuple[Judged, ...]:
        """Adds the verdicts, and for maps that could lead the overlap with the map of an unlikely class."""
        if self.trials is None:
            return tuple(maps)
        own = [judged for judged in maps if not judged.baseline]
        with self.stages.part(1.0, times=STREAMS):
            more = tried - sum(judged.baseline for judged in maps) - len(own)
            shown, first = [judged.attribution for judged in own], [judged.faithfulness for judged in own]
            verdicts = ask(self.trials, shown, [i] * len(own), LEVEL, more=more, first=first)
        known = {judged.title: replace(judged, verdict=one) for judged, one in zip(own, verdicts, strict=True)}
        led = False
        for title, judged in known.items():
            if judged.stands and (not led or lookup(title).family == CLASSLESS):
                known[title] = replace(judged, class_overlap=self._class_overlap(judged))
                led = led or known[title].is_reason
        return tuple(known.get(judged.title, judged) for judged in maps)

    def _class_overlap(self, judged: Judged) -> float | None:
        """Returns the share of the top fifth that a map has in common with the same method's map of an unlikely class."""
        if self.unlikely is None:
            return None
        try:
            if judged.title not in self._of_unlikely:
                self._of_unlikely[judged.title] = self._run(judged.title, self.unlikely).value
            return overlap(judged.attribution, self._of_unlikely[judged.title])
        except (MethodError, LayerError):
            return None

    def _unlikely(self) -> int | None:
        """Returns the class in the middle of the order of probabilities; None if fewer than three classes are told apart."""
        if self.trials is None or not all(_is_of_classes(target) for target in self.targets):
            return None
        found = probabilities(self.model, self.images) if gives_classes(self.model, self.images) else None
        if found is None or found.shape[1] < 3:
            return None
        order = found[0].argsort(descending=True, stable=True).tolist()
        return order[max(len(order) // 2, 2)]


def _is_of_classes(target: Any) -> bool:
    return isinstance(target, int) or (hasattr(target, "of") and isinstance(target.of, tuple))


def finalists(question: Question) -> Question:
    """Returns the question with only the best maps and the baselines; `tried` has the faithfulness of all methods."""
    methods = [judged for judged in question.maps if not judged.baseline]
    tried = {judged.title: judged.faithfulness for judged in methods} | dict(question.tried)
    kept = tuple(one for one in question.maps if one.baseline or one in methods[:FINALISTS])
    return replace(question, maps=kept, tried=tried)


def each(target: Any) -> Any:
    """Returns a target for a batch of one image: a callable unchanged, anything else in a list."""
    return target if callable(target) else [target]
