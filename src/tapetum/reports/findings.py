"""What came out, in plain words: only sentences that the measured numbers carry."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.figures.words import where
from tapetum.reports.explanation import Explanation, Judged, Question
from tapetum.types import Prediction

CELLS = 14
"""Maps of all resolutions are compared on this grid: 16 px of 224, about the finest that a CAM of such a net resolves."""

TOP = 0.2
"""The share of the picture that counts as a map's claim."""


def findings(explanation: Explanation) -> tuple[str, ...]:
    """The reader's answer, most important first."""
    lines = [_answer(explanation.predictions)]
    for question in explanation.questions:
        lines += _about(question)
    lines += _rivals(explanation.questions)
    lines += _grid(explanation.questions[0])
    return tuple(lines)


def _answer(predictions: tuple[Prediction, ...]) -> str:
    first, *others = predictions
    line = f"The model answers {_named(first)} ({_percent(first.probability)})"
    if not others:
        return f"{line}."
    close = others[0].probability > first.probability / 2
    tail = ", nearly as probable: read both explanations" if close else ""
    return f"{line}; next is {_named(others[0])} ({_percent(others[0].probability)}){tail}."


def _about(question: Question) -> list[str]:
    """Which maps to believe for one target."""
    tested = [m for m in question.maps if not m.baseline and math.isfinite(m.faithfulness)]
    lines = _statuses(question)
    if not tested:
        return lines
    bar = max((m.faithfulness for m in question.maps if m.baseline and math.isfinite(m.faithfulness)), default=-math.inf)
    better = [m for m in tested if m.faithfulness > bar]
    if not better:
        return [
            f"No map of '{question.target}' beats the baselines, which know nothing of the model: do not rely on them.",
            *lines,
        ]
    best = better[0]
    line = (
        f"For '{question.target}', {best.title} stands up best: {_place(best)}. "
        f"{len(better)} of {len(tested)} methods beat both baselines (insertion - deletion above {bar:+.2f})."
    )
    return [line, *_agreement(question, better), *lines]


def _place(judged: Judged) -> str:
    heatmap = judged.attribution.ranking()[0].float().clamp(min=0)
    return f"its evidence peaks at the {where(heatmap)} of the picture"


def _agreement(question: Question, better: list[Judged]) -> list[str]:
    if len(better) < 2:
        return []
    for a, b in pairwise(better[:2]):
        share = overlap(a, b)
        verdict = "agree" if share >= 0.5 else "agree in part" if share >= 0.3 else "point to different places"
        return [
            f"The two best maps of '{question.target}', {a.title} and {b.title}, {verdict}: "
            f"{_percent(share)} of the top fifth of the picture is common (by chance {_percent(TOP)})."
        ]
    return []


def _statuses(question: Question) -> list[str]:
    words = {
        "no_positive_evidence": "finds nothing that speaks for it",
        "constant": "gives a constant map, which says nothing",
        "non_finite": "gives NaN or infinity: its map is not shown",
    }
    broken = [(m.title, m.attribution.status[0]) for m in question.maps if m.attribution.status[0] != "ok"]
    return [f"For '{question.target}', {title} {words[status]}." for title, status in broken]


def _rivals(questions: tuple[Question, ...]) -> list[str]:
    """How far the explanations of the predicted class and of the runner-up are the same."""
    if len(questions) < 2:
        return []
    first, second = questions
    best = next((m for m in first.maps if not m.baseline and math.isfinite(m.faithfulness)), None)
    other = next((m for m in second.maps if best and m.title == best.title), None)
    if best is None or other is None or {best.attribution.status[0], other.attribution.status[0]} != {"ok"}:
        return []
    share = overlap(best, other)
    verdict = (
        "it uses the same evidence for both"
        if share > 0.6
        else "it looks at different places for each"
        if share < 0.35
        else "the evidence is partly shared"
    )
    return [
        f"The {best.title} maps of '{first.target}' and '{second.target}' overlap by {_percent(share)} of their top fifth: "
        f"{verdict}."
    ]


def _grid(question: Question) -> list[str]:
    """How fine the coarse maps are."""
    coarse = next((m.attribution for m in question.maps if m.attribution.layer is not None), None)
    if coarse is None:
        return []
    rows, columns = coarse.values.shape[-2:]
    height, width = coarse.size
    return [
        f"Class activation maps come from layer {coarse.layer}, a grid of {rows} x {columns}: each cell covers "
        f"{height / rows:.0f} x {width / columns:.0f} px, and finer detail in them is only interpolation."
    ]


def overlap(a: Judged, b: Judged) -> float:
    """The share of the top fifth of the picture that two maps have in common, on a common grid: 1 same, 0.2 by chance."""
    first, second = _top(a), _top(b)
    return float((first & second).sum() / first.sum())


def _top(judged: Judged) -> Tensor:
    coarse = F.adaptive_avg_pool2d(judged.attribution.ranking()[:1].float(), CELLS).flatten()
    chosen = torch.zeros_like(coarse, dtype=torch.bool)
    chosen[coarse.topk(round(TOP * coarse.numel())).indices] = True
    return chosen


def _named(prediction: Prediction) -> str:
    return f"'{prediction.label}'" if prediction.label else f"class {prediction.index}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"
