"""Writes the findings of an explanation as sentences; each follows from measured numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tapetum.families.comparisons import TOP, overlap
from tapetum.figures.words import where
from tapetum.reports.words import line_name, three_digits
from tapetum.types import Number, Prediction, Region
from tapetum.types.explanations import Explanation, Judged, Question


def findings(explanation: Explanation) -> tuple[str, ...]:
    """Returns the findings of an explanation as sentences, most important first."""
    lines = [_answer(explanation)]
    for question in explanation.questions:
        lines += _about(question)
    lines += _rivals(explanation.questions)
    lines += _grid(explanation.questions[0])
    return tuple(line for line in lines if line)


def _answer(explanation: Explanation) -> str:
    """Returns a sentence about the model's answer, worded for its kind of output (classes, labels, numbers, ...)."""
    kind, given = explanation.answer, explanation.predictions
    if kind == "numbers":
        shown = [f"{three_digits(one.value)} for {_named(one)}" for one in given[:MANY] if isinstance(one, Number)]
        return f"The model gives {', '.join(shown)}{_more(given)}."
    found = [one for one in given if isinstance(one, Prediction)]
    if kind == "maps":
        return _places(explanation.questions[0])
    if kind == "detections":
        return f"The model finds things in boxes; explained is {explanation.questions[0].target}."
    if not found:
        return ""
    if kind == "labels":
        return _labels(found)
    return _yes_or_no(found) if kind == "binary" else _class(found, both=len(explanation.questions) > 1)


def _more(found: Sequence[Any]) -> str:
    return f", and {len(found) - MANY} more" if len(found) > MANY else ""


def _places(question: Question) -> str:
    """Returns a sentence about the explained class of a segmentation, with its share of the picture."""
    region = next((one for judged in question.maps for one in judged.attribution.explains if isinstance(one, Region)), None)
    if region is None or not isinstance(region.mask, Tensor):
        return f"The model gives a class to each place; explained is '{question.target}'."
    share = _percent(float(region.mask.float().mean()))
    name = question.target.rpartition(" in ")[0] or question.target
    most = "its largest class but the background is" if question.role == "predicted" else "explained is"
    return f"The model gives a class to each place; {most} '{name}', on {share} of the picture."


MANY = 4
"""Largest number of labels or numbers in one sentence."""


def _labels(found: list[Prediction]) -> str:
    true = [one for one in found if one.probability >= 0.5]
    if not true:
        return f"The model finds none of its labels; nearest is {_sure(found[0])}."
    shown = _joined([_sure(one) for one in true[:MANY]])
    return f"The model finds {shown}{_more(true)}; it judges each label for itself."


def _yes_or_no(found: list[Prediction]) -> str:
    if len(found) == 1:
        return f"The model gives {_named(found[0])} a probability of {_percent(found[0].probability)}."
    return f"The model answers {_sure(found[0])} rather than {_sure(found[1])}."


def _class(found: list[Prediction], both: bool) -> str:
    first, *others = found
    if not others:
        return f"The model answers {_sure(first)}."
    close = others[0].probability > first.probability / 2
    tail = ", more than half as probable" + (": read both explanations" if both else "") if close else ""
    return f"The model answers {_sure(first)}; next is {_sure(others[0])}{tail}."


def _about(question: Question) -> list[str]:
    """Returns sentences that say which maps of one target are better than the baselines."""
    maps, bars = measured_maps(question), measured_maps(question, baseline=True)
    better = [m for m in maps if not bars or m.faithfulness > bars[0].faithfulness]
    lines = _statuses(question)
    if not maps:
        return lines
    if not better:
        failed = f"No map of '{question.target}' beats the baselines, which know nothing of the model: do not rely on them."
        return [failed, *lines]
    return [_best(question, maps, bars), *_contest(question), *_agreement(question, better), *lines]


def measured_maps(question: Question, *, baseline: bool = False) -> list[Judged]:
    """Returns the maps of methods (or of baselines) with status "ok" and a finite faithfulness, best first."""
    found = [m for m in question.maps if m.baseline == baseline and _ok(m) and math.isfinite(m.faithfulness)]
    return sorted(found, key=lambda m: -m.faithfulness)


def _ok(judged: Judged) -> bool:
    return judged.attribution.status[0] == "ok"


def _best(question: Question, maps: list[Judged], bars: list[Judged]) -> str:
    """Returns a sentence with the best map, its strongest place, and how many methods beat the baselines."""
    heatmap = maps[0].attribution.ranking()[0].float().clamp(min=0)
    place = f": its evidence peaks at the {where(heatmap)} of the picture" if heatmap.max() > 0 else ""
    line = f"For '{question.target}', {maps[0].title} stands up best{place}."
    if not bars:
        return line
    values = [value for value in question.tried.values() if math.isfinite(value)] or [m.faithfulness for m in maps]
    bar = bars[0].faithfulness
    rivals = "the baseline" if len(bars) == 1 else "both baselines"
    higher = sum(value > bar for value in values)
    return f"{line} {higher} of {len(values)} methods beat {rivals} (insertion - deletion above {bar:+.2f})."


def _contest(question: Question) -> list[str]:
    """Returns a sentence with the number of methods tried and the faithfulness of the five best; [] if none are recorded."""
    if not question.tried:
        return []
    ranked = sorted((value, name) for name, value in question.tried.items() if math.isfinite(value))[::-1]
    numbers = ", ".join(f"{name} {value:+.2f}" for value, name in ranked[:5])
    late = len(question.tried) - len(ranked)
    rest = f"; {late} more did not finish within the time" if late else ""
    more = ", ..." if len(ranked) > 5 else ""
    return [f"{len(ranked)} methods were tried (insertion - deletion: {numbers}{more}){rest}."]


def _agreement(question: Question, better: list[Judged]) -> list[str]:
    if len(better) < 2:
        return []
    a, b = better[:2]
    share = overlap(a.attribution, b.attribution)
    verdict = "agree" if share >= 0.5 else "agree in part" if share >= 0.3 else "point to different places"
    return [
        f"The two best maps of '{question.target}', {a.title} and {b.title}, {verdict}: "
        f"{_percent(share)} of the top fifth of the picture is common (by chance {_percent(TOP)})."
    ]


STATUSES = {
    "no_positive_evidence": "finds nothing that speaks for it",
    "constant": "gives a constant map, which says nothing",
    "non_finite": "gives NaN or infinity: its map is not shown",
}


def _statuses(question: Question) -> list[str]:
    """Returns sentences about maps that show nothing, and one if all methods refused."""
    broken = [(m.title, STATUSES[m.attribution.status[0]]) for m in question.maps if not _ok(m)]
    lines = [f"For '{question.target}', {title} {words}." for title, words in broken]
    if question.refused and all(m.baseline for m in question.maps):
        lines.append(f"No method gave a map of '{question.target}': {len(question.refused)} refused, each with its reason.")
    return lines


def _rivals(questions: tuple[Question, ...]) -> list[str]:
    """Returns a sentence about the overlap of one method's maps for the predicted class and for the runner-up, or []."""
    if len(questions) < 2:
        return []
    first, second = questions
    best = next(iter(measured_maps(first)), None)
    other = next((m for m in second.maps if best and m.title == best.title and _ok(m)), None)
    if best is None or other is None:
        return []
    share = overlap(best.attribution, other.attribution)
    if share > 0.6:
        verdict = "the network uses the same evidence for both"
    elif share < 0.35:
        verdict = "the network looks at different places for each"
    else:
        verdict = "the evidence is partly shared"
    return [
        f"The {best.title} maps of '{first.target}' and '{second.target}' overlap by {_percent(share)} of their top fifth: "
        f"{verdict}."
    ]


def _grid(question: Question) -> list[str]:
    """Returns, for each layer that maps come from, a sentence with the size of the layer's cells in px."""
    by_layer: dict[str, list[Judged]] = {}
    for m in question.maps:
        if m.attribution.layer is not None:
            rows, columns = m.attribution.values.shape[-2:]
            by_layer.setdefault(f"{m.attribution.layer}, a grid of {rows} x {columns}", []).append(m)
    return [_grid_line(layer, maps) for layer, maps in by_layer.items()]


def _grid_line(layer: str, maps: list[Judged]) -> str:
    (height, width), (rows, columns) = maps[0].attribution.size, maps[0].attribution.values.shape[-2:]
    names = _joined([m.title for m in maps])
    return (
        f"What {names} {'shows comes' if len(maps) == 1 else 'show comes'} from layer {layer}: "
        f"each cell covers {height / rows:.0f} x {width / columns:.0f} px, and finer detail is only interpolation."
    )


def _joined(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _named(one: Prediction | Number) -> str:
    return f"'{one.label}'" if one.label else line_name(one)


def _sure(one: Prediction) -> str:
    return f"{_named(one)} ({_percent(one.probability)})"


def _percent(share: float) -> str:
    """Formats a share in percent; "0 %" and "100 %" mean exactly that, values near them are "under 1 %", "over 99 %"."""
    if 0 < share < 0.01:
        return "under 1 %"
    return "over 99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"
