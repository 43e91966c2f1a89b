"""What came out, in plain words: only sentences that the measured numbers carry."""

from __future__ import annotations

import math

from torch import Tensor

from tapetum.families.comparisons import TOP, overlap
from tapetum.figures.words import where
from tapetum.types import Number, Prediction, Region
from tapetum.types.explanations import Explanation, Judged, Question


def findings(explanation: Explanation) -> tuple[str, ...]:
    """The reader's answer, most important first."""
    lines = [_answer(explanation)]
    for question in explanation.questions:
        lines += _about(question)
    lines += _rivals(explanation.questions)
    lines += _grid(explanation.questions[0])
    return tuple(line for line in lines if line)


def _answer(explanation: Explanation) -> str:
    """What the model says of the image, in the words that fit its outputs."""
    kind, given = explanation.answer, explanation.predictions
    if kind == "numbers":
        return _numbers([one for one in given if isinstance(one, Number)])
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


def _numbers(found: list[Number]) -> str:
    """Numbers as they are: the model does not choose, and is not sure of anything."""
    shown = [f"{_value(one.value)} for {_named(one)}" for one in found[:MANY]]
    more = f", and {len(found) - MANY} more" if len(found) > MANY else ""
    return f"The model gives {', '.join(shown)}{more}."


def _places(question: Question) -> str:
    """Of a segmentation: which class is explained, and how much of the picture it holds."""
    region = next((one for judged in question.maps for one in judged.attribution.explains if isinstance(one, Region)), None)
    if region is None or not isinstance(region.mask, Tensor):
        return f"The model gives a class to each place; explained is '{question.target}'."
    share = _percent(float(region.mask.float().mean()))
    name = question.target.rpartition(" in ")[0] or question.target
    most = "its largest class but the background is" if question.role == "predicted" else "explained is"
    return f"The model gives a class to each place; {most} '{name}', on {share} of the picture."


MANY = 4
"""Numbers and labels that a sentence holds."""


def _labels(found: list[Prediction]) -> str:
    """Each label is true or not, whatever the others are."""
    true = [one for one in found if one.probability >= HALF]
    if not true:
        return f"The model finds none of its labels; nearest is {_named(found[0])} ({_percent(found[0].probability)})."
    shown = [f"{_named(one)} ({_percent(one.probability)})" for one in true[:MANY]]
    listed = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
    more = f", and {len(true) - MANY} more" if len(true) > MANY else ""
    return f"The model finds {listed}{more}; it judges each label for itself."


HALF = 0.5


def _yes_or_no(found: list[Prediction]) -> str:
    first, *others = found
    if not others:
        return f"The model gives {_named(first)} a probability of {_percent(first.probability)}."
    against = f"rather than {_named(others[0])} ({_percent(others[0].probability)})"
    return f"The model answers {_named(first)} ({_percent(first.probability)}) {against}."


def _class(found: list[Prediction], both: bool) -> str:
    first, *others = found
    if not others:
        return f"The model answers {_named(first)} ({_percent(first.probability)})."
    line = f"The model answers {_named(first)} ({_percent(first.probability)})"
    close = others[0].probability > first.probability / 2
    tail = ", more than half as probable" if close else ""
    tail += ": read both explanations" if close and both else ""
    return f"{line}; next is {_named(others[0])} ({_percent(others[0].probability)}){tail}."


def _about(question: Question) -> list[str]:
    """Which maps to believe for one target."""
    tested = _tested(question)
    lines = _statuses(question)
    if question.refused and all(m.baseline for m in question.maps):
        lines.append(f"No method gave a map of '{question.target}': {len(question.refused)} refused, each with its reason.")
    if not tested:
        return lines
    bars = [m.faithfulness for m in question.maps if m.baseline and math.isfinite(m.faithfulness)]
    better = [m for m in tested if m.faithfulness > max(bars, default=-math.inf)]
    if not better:
        return [
            f"No map of '{question.target}' beats the baselines, which know nothing of the model: do not rely on them.",
            *lines,
        ]
    line = f"For '{question.target}', {better[0].title} stands up best{_place(better[0])}."
    numbers = [value for value in question.tried.values() if math.isfinite(value)] or [m.faithfulness for m in tested]
    if bars:
        higher, rivals = sum(value > max(bars) for value in numbers), "the baseline" if len(bars) == 1 else "both baselines"
        line += f" {higher} of {len(numbers)} methods beat {rivals} (insertion - deletion above {max(bars):+.2f})."
    return [line, *_contest(question), *_agreement(question, better), *lines]


def _contest(question: Question) -> list[str]:
    """How many methods were tried for the best one, and how close the next ones come."""
    if not question.tried:
        return []
    ranked = sorted((value, name) for name, value in question.tried.items() if math.isfinite(value))[::-1]
    numbers = ", ".join(f"{name} {value:+.2f}" for value, name in ranked[:5])
    late = len(question.tried) - len(ranked)
    rest = f"; {late} more did not finish within the time" if late else ""
    more = ", ..." if len(ranked) > 5 else ""
    return [f"{len(ranked)} methods were tried (insertion - deletion: {numbers}{more}){rest}."]


def _tested(question: Question) -> list[Judged]:
    """Maps of methods that show something and whose evidence was measured, best first."""
    tested = [m for m in question.maps if not m.baseline and _ok(m) and math.isfinite(m.faithfulness)]
    return sorted(tested, key=lambda m: -m.faithfulness)


def _ok(judged: Judged) -> bool:
    return judged.attribution.status[0] == "ok"


def _place(judged: Judged) -> str:
    heatmap = judged.attribution.ranking()[0].float().clamp(min=0)
    return f": its evidence peaks at the {where(heatmap)} of the picture" if heatmap.max() > 0 else ""


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
    best = next(iter(_tested(first)), None)
    other = next((m for m in second.maps if best and m.title == best.title and _ok(m)), None)
    if best is None or other is None:
        return []
    share = overlap(best.attribution, other.attribution)
    verdict = (
        "the network uses the same evidence for both"
        if share > 0.6
        else "the network looks at different places for each"
        if share < 0.35
        else "the evidence is partly shared"
    )
    return [
        f"The {best.title} maps of '{first.target}' and '{second.target}' overlap by {_percent(share)} of their top fifth: "
        f"{verdict}."
    ]


def _grid(question: Question) -> list[str]:
    """How fine the coarse maps are, for each layer that some come from."""
    by_layer: dict[tuple[str, int, int], list[Judged]] = {}
    for m in question.maps:
        if m.attribution.layer is not None:
            rows, columns = m.attribution.values.shape[-2:]
            by_layer.setdefault((m.attribution.layer, int(rows), int(columns)), []).append(m)
    return [_grid_line(layer, rows, columns, maps) for (layer, rows, columns), maps in by_layer.items()]


def _grid_line(layer: str, rows: int, columns: int, maps: list[Judged]) -> str:
    height, width = maps[0].attribution.size
    names = " and ".join(filter(None, [", ".join(m.title for m in maps[:-1]), maps[-1].title]))
    return (
        f"What {names} {'shows comes' if len(maps) == 1 else 'show comes'} from layer {layer}, a grid of {rows} x {columns}: "
        f"each cell covers {height / rows:.0f} x {width / columns:.0f} px, and finer detail is only interpolation."
    )


def _named(one: Prediction | Number) -> str:
    if one.label:
        return f"'{one.label}'"
    return f"output {one.index}" if isinstance(one, Number) else f"class {one.index}"


def _value(value: float) -> str:
    """A number with three digits or more: 58.2, 1,250, −0.0312."""
    return f"{value:,.3g}".replace("-", "−") if abs(value) < 1000 else f"{value:,.0f}".replace("-", "−")


def _percent(share: float) -> str:
    """Never 0 % or 100 % for what is only nearly so."""
    if 0 < share < 0.01:
        return "under 1 %"
    return "over 99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"
