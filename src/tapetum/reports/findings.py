"""Writes the findings of an explanation as sentences; each follows from measured numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from tapetum.families.comparisons import TOP, overlap
from tapetum.figures.words import where
from tapetum.reports.words import line_name, three_digits
from tapetum.types import Number, Prediction, Region
from tapetum.types.explanations import SAME, TOGETHER, Explanation, Judged, Question
from tapetum.types.verdicts import LEAST_RANGE, SHORT


def findings(explanation: Explanation) -> tuple[str, ...]:
    """Returns the findings of an explanation as sentences, most important first."""
    first = explanation.questions[0]
    unplaced = _unplaced(first)
    lines = [unplaced, _answer(explanation), _split(explanation)]
    for question in explanation.questions:
        lines += [line for line in _about(question) if line != unplaced]
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


def _split(explanation: Explanation) -> str:
    """Returns a sentence about the near classes among which the answer is split, or ""."""
    together = next((one for one in explanation.questions if one.role == TOGETHER), None)
    if together is None or together.probability is None:
        return ""
    return (
        f"The answer is split among classes that this network hardly tells apart: {together.target} together have "
        f"{_percent(together.probability)}."
    )


def _about(question: Question) -> list[str]:
    """Returns sentences that say which maps of one target stand up."""
    judged = [one for one in question.maps if one.verdict is not None and _ok(one)]
    tested = [one for one in judged if one.verdict is not None and one.verdict.tested]
    lines = _statuses(question)
    if not judged:
        return lines
    if not tested:
        return [_unplaced(question) or _improbable(question), *lines]
    standing = [one for one in tested if one.stands]
    if not standing:
        return [_none_stands(question, tested), *_contest(question), *lines]
    reasons = [one for one in standing if one.is_reason]
    return [
        _best(question, tested),
        *_contest(question),
        *_agreement(question, reasons),
        *_no_reasons(question, standing),
        *lines,
    ]


FILLS = {"blur": "a blur", "zero": "zero"}
"""{fill: how a sentence calls it}."""


def _unplaced(question: Question) -> str:
    """Returns a sentence that says that hiding the whole picture hardly changes the answer, or "" if it does."""
    verdict = next((one.verdict for one in question.maps if one.verdict and one.verdict.outcome == "no_range"), None)
    if verdict is None:
        return ""
    fell = {fill: verdict.whole - value >= LEAST_RANGE for fill, value in verdict.hidden.items()}
    show = _percent if verdict.measures == "probability" else three_digits
    left = " and ".join(f"{show(value)} under {FILLS[fill]}" for fill, value in verdict.hidden.items())
    start = f"Hiding the whole picture leaves '{question.target}' at {left} (whole: {show(verdict.whole)})"
    if fell.get("zero"):
        return f"{start}: the answer does not hang on any place. Colour or coarse tone is enough; no map is ranked."
    return (
        f"{start}: no place of this picture was needed, the network gives this answer to an empty one, too; no map is ranked."
    )


def _improbable(question: Question) -> str:
    share = _percent(question.probability or 0)
    return (
        f"'{question.target}' has a probability of {share}, too small to fall when places are hidden: its maps are not judged."
    )


def _none_stands(question: Question, tested: list[Judged]) -> str:
    """Returns a sentence that says why none of the tested maps stands up."""
    counts = Counter(SHORT[one.verdict.outcome] for one in tested if one.verdict)
    told = [f"{count} {'is' if count == 1 else 'are'} {words}" for words, count in counts.items()]
    return f"No map of '{question.target}' stands up: {_joined(told)}. Do not rely on them."


def measured_maps(question: Question, *, baseline: bool = False) -> list[Judged]:
    """Returns the maps of methods (or of baselines) with status "ok" and a finite faithfulness, best first."""
    found = [m for m in question.maps if m.baseline == baseline and _ok(m) and math.isfinite(m.faithfulness)]
    return sorted(found, key=lambda m: -m.faithfulness)


def _ok(judged: Judged) -> bool:
    return judged.attribution.status[0] == "ok"


def _best(question: Question, tested: list[Judged]) -> str:
    """Returns a sentence with the leading map, its strongest place, its place among random maps, and how many stand up."""
    best, standing = question.leader, [one for one in tested if one.stands]
    if best is None or best.verdict is None:
        only = _joined([one.title for one in standing])
        return f"No map of '{question.target}' that depends on the class stands up (only {only}). Do not rely on them."
    heatmap = best.attribution.ranking()[0].float().clamp(min=0)
    place = f": its evidence peaks at the {where(heatmap)} of the picture" if heatmap.max() > 0 else ""
    counted = f"{len(standing)} of {best.verdict.tried} maps stand{'s' * (len(standing) == 1)} up"
    return f"For '{question.target}', {best.title} stands up best{place}. It is {best.verdict.words}. {counted}."


def _no_reasons(question: Question, standing: list[Judged]) -> list[str]:
    """Returns a sentence about the maps that stand up but hardly depend on the class, or []."""
    others = [f"{one.title} ({_percent(one.class_overlap)})" for one in standing if not one.is_reason and one.class_overlap]
    if not others:
        return []
    return [
        f"Not a reason for '{question.target}': {_joined(others)} points to the same place for an unlikely class "
        f"(share of the top fifth in common; by chance {_percent(TOP)})."
    ]


def _contest(question: Question) -> list[str]:
    """Returns a sentence with the number of methods tried and the faithfulness of the five best; [] if none are recorded."""
    if not question.tried:
        return []
    ranked = sorted((value, name) for name, value in question.tried.items() if math.isfinite(value))[::-1]
    numbers = ", ".join(f"{name} {value:+.2f}" for value, name in ranked[:5])
    late = len(question.tried) - len(ranked)
    rest = f"; {late} more did not finish within the time" if late else ""
    more = ", ..." if len(ranked) > 5 else ""
    return [f"{len(ranked)} methods were tried (faithfulness: {numbers}{more}){rest}."]


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
    """Returns a sentence about the overlap of the leading map with the runner-up's map of that method, or [].

    Both maps stand up, and the method's map of an unlikely class lies elsewhere.
    """
    first, second = questions[0], next((one for one in questions if one.role == "runner-up"), None)
    best = first.leader
    if best is None or second is None or best.class_overlap is None:
        return []
    other = next((m for m in second.maps if m.title == best.title and m.stands), None)
    if other is None:
        return []
    share = overlap(best.attribution, other.attribution)
    if share > SAME:
        verdict = "the network uses the same evidence for both"
    elif share < 0.35:
        verdict = "the network looks at different places for each"
    else:
        verdict = "the evidence is partly shared"
    return [
        f"The {best.title} maps of '{first.target}' and '{second.target}' overlap by {_percent(share)} of their top fifth "
        f"(with an unlikely class: {_percent(best.class_overlap)}): {verdict}."
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
