"""Makes the HTML parts of a report: pictures with alternative text, cards, bars, curves, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from tapetum.data.images import data_uri
from tapetum.figures.overlay import channel_picture, picture, signs
from tapetum.figures.words import caption, describe, grid, where
from tapetum.reports.markup import Markup, tag
from tapetum.reports.words import line_name, line_value, number, seconds
from tapetum.types import ActivationMaps, Evaluation, Number, Prediction
from tapetum.types.explanations import Explanation, Judged, Question
from tapetum.types.verdicts import SHORT

STATUS_WORDS = {"ok": "ok", "no_positive_evidence": "no positive evidence", "constant": "constant", "non_finite": "NaN inside"}
DEPTHS = {1: ("",), 2: ("Early", "Deep"), 3: ("Early", "Middle", "Deep")}


def facts(pairs: Mapping[str, str], class_: str) -> Markup:
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs.items()], class_=class_)


def bars(lines: Sequence[Prediction | Number]) -> Markup:
    """Lists predictions, with horizontal bars for probabilities; numbers of a regression have no bars (no common scale)."""
    items: list[Markup] = []
    for one in lines:
        words = [tag("span", line_name(one), class_="name"), tag("span", line_value(one), class_="value")]
        share = None if isinstance(one, Number) else f"--share:{100 * one.probability:.2f}%"
        items.append(tag("li", words, tag("span", class_="bar", style=share, aria_hidden="true") if share else None))
    return tag("ol", items, class_="bars")


def found(maps: ActivationMaps, depth: str) -> Markup:
    """Shows the selected channels of one layer as tiles at the layer's resolution; `depth` is a heading such as "early"."""
    colors = "; red is positive, blue negative" if signs(maps.values) == "sum" else ""
    tiles = [_tile(maps, i) for i in range(maps.values.shape[1])]
    title = tag("h4", tag("span", depth, class_="depth") if depth else None, tag("code", maps.layer))
    note = tag("p", f"{grid(maps.values.shape)} grid, chosen by {maps.by}{colors}", class_="note")
    return tag("section", tag("header", title, note), tag("div", tiles, class_="tiles"), class_="layer")


def _tile(maps: ActivationMaps, i: int) -> Markup:
    channel = int(maps.channels[0, i])
    place = where(maps.values[0, i].detach().cpu())
    alt = f"Channel {channel} of layer {maps.layer}: a {grid(maps.values.shape)} map, most active at the {place}"
    source = data_uri(channel_picture(maps, 0, i), lossless=True)
    return tag("figure", tag("img", src=source, alt=alt, class_="grid"), tag("figcaption", f"channel {channel}"))


def in_order(question: Question) -> list[Judged]:
    """Returns the maps of a question for the page: the leading one, others that stand up, then the rest, baselines last."""
    leader = question.leader
    return sorted(question.maps, key=lambda one: (one is not leader, one.baseline, not one.stands, not one.is_reason))


def place(judged: Judged, question: Question) -> tuple[str, str]:
    """Returns the badge of a map, in words, and its class: "stands", "shown" (no better than chance) or "untested"."""
    if judged.verdict is None:
        return "", ""
    if judged.stands and not judged.is_reason:
        return "Not a reason: the same for an unlikely class", "shown"
    words = SHORT[judged.verdict.outcome]
    words = f"{words[0].upper()}{words[1:]}{', best' if judged is question.leader else ''}"
    return words, "stands" if judged.stands else "shown" if judged.verdict.tested else "untested"


def card(explanation: Explanation, question: Question, judged: Judged, crop_class: str) -> Markup:
    """Makes the card of one map: the picture, the verdict, the method's summary, and the evidence for the map."""
    words, kind = place(judged, question)
    first = tag("p", words, class_="place") if words else None
    mark = tag("span", "baseline", class_="tag") if judged.baseline else None
    title = tag("h5", judged.title, mark)
    summary = tag("p", judged.summary, class_="summary")
    body = tag("div", first, title, summary, shown_evidence(judged, question, known=explanation.notes), class_="body")
    leads = "best " if judged is question.leader else ""
    classes = "card baseline" if judged.baseline else f"card {leads}{kind}".strip()
    return tag("article", map_picture(explanation, question, judged, crop_class), body, class_=classes)


def null_strip(judged: Judged) -> Markup | None:
    """Draws the place of a map among random maps, the edges and a blob in the middle; None if it was not tested."""
    verdict = judged.verdict
    if verdict is None or not verdict.tested:
        return None

    def x(value: float) -> float:
        return 100 + 94 * min(max(value, -1.0), 1.0) if isfinite(value) else 100

    dots = [
        tag("circle", cx=f"{x(one):.1f}", cy=f"{9 + 8 * ((0.618 * i) % 1 - 0.5):.1f}", r="1.1", class_="random")
        for i, one in enumerate(sorted(verdict.null.tolist()))
    ]
    edges, centre, own = x(verdict.edges), x(verdict.centre), x(verdict.faithfulness)
    marks = (
        tag("path", d="M100 1V17", class_="axis"),
        tag("path", d=f"M{edges:.1f} 5.5l3.4 6.4h-6.8z", class_="known"),
        tag("circle", cx=f"{centre:.1f}", cy="9", r="3.2", class_="known"),
        tag("path", d=f"M{own:.1f} 4.6l4.4 4.4l-4.4 4.4l-4.4-4.4z", class_="own stands" if verdict.stands else "own"),
    )
    label = f"{judged.title}: {verdict.words}; p = {verdict.p_value:.2g}"
    return tag("svg", dots, marks, viewBox="0 0 200 18", role="img", aria_label=label, class_="null")


def map_picture(explanation: Explanation, question: Question, judged: Judged, crop_class: str) -> Markup:
    """Shows a map's overlay above the plain crop, a background shared by all maps, so that fading the overlay reveals it."""
    height, width = explanation.pixels.shape[-2:]
    alt = f"{judged.title} map for {question.target} over the photograph: {describe(judged.attribution)}."
    source = data_uri(picture(judged.attribution, explanation.pixels[0]))
    image = tag("img", src=source, alt=alt, width=width, height=height, decoding="async")
    return tag("div", image, class_=f"map {crop_class}")


def _span(question: Question) -> tuple[float, float]:
    """Returns (low, high) of all curves of a question, the common scale of its small charts.

    For probabilities low is 0; for scores in other units it is the smallest value.
    """
    curves = [e.curve.nan_to_num(0, 0, 0) for judged in question.maps for e in judged.curves.values()]
    high = max((float(curve.max()) for curve in curves), default=1.0)
    low = 0.0 if question.probability is not None else min((float(curve.min()) for curve in curves), default=0.0)
    return low, high if high > low else low + 1


def shown_evidence(judged: Judged, question: Question, known: Sequence[str] = ()) -> Markup:
    """Shows the evidence for a map and the time it took, and those of its notes not in `known`."""
    shown = {
        "deletion ↓": number(judged.evidence.get("deletion", float("nan"))),
        "insertion ↑": number(judged.evidence.get("insertion", float("nan"))),
        "faithfulness ↑": number(judged.faithfulness),
        "time": seconds(judged.seconds),
    }
    origin = tag("p", caption(judged.attribution), class_="note")
    notes = [tag("p", note, class_="note") for note in judged.attribution.notes if note not in known]
    what = "Probability of the target" if question.probability is not None else "The number that is explained"
    chart = curves(judged.curves, f"{what} as pixels change, {judged.title}", _span(question))
    return tag("div", null_strip(judged), chart, facts(shown, "numbers"), origin, notes, class_="evidence")


def curves(evaluations: Mapping[str, Evaluation], title: str, span: tuple[float, float]) -> Markup | None:
    """Draws the deletion and insertion curves as one small chart; returns None if neither was measured."""
    drawn = {name: evaluations[name] for name in ("deletion", "insertion") if name in evaluations}
    if not drawn:
        return None
    areas = ", ".join(f"{name} {number(float(e.value[0]))}" for name, e in drawn.items())
    label = f"{title}: area under {areas}"
    shapes = [_shape(name, evaluation, span) for name, evaluation in drawn.items()]
    axis = tag("path", d="M0 40H100", class_="axis", vector_effect="non-scaling-stroke")
    return tag("svg", axis, shapes, viewBox="0 0 100 40", preserveAspectRatio="none", role="img", aria_label=label)


def _shape(name: str, evaluation: Evaluation, span: tuple[float, float]) -> Markup:
    low, high = span
    x = [100 * float(f) for f in evaluation.fraction]
    shares = [(float(p) - low) / (high - low) for p in evaluation.curve[0]]
    y = [40 - 38 * min(max(share, 0.0), 1.0) if isfinite(share) else 40.0 for share in shares]
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    area = tag("polygon", points=f"{x[0]:.1f},40 {line} {x[-1]:.1f},40", class_="area")
    stroke = tag("polyline", points=line, class_="line", vector_effect="non-scaling-stroke")
    return tag("g", area, stroke, class_=name)


COLUMNS = ("method", "layer", "deletion ↓", "insertion ↑", "faithfulness ↑", "p", "verdict", "time")


def maps_table(question: Question) -> Markup:
    """Makes a table of one question: a row per map with layer, deletion, insertion, faithfulness, p, verdict and time."""
    names = [tag("th", name, scope="col", class_="words" if i in (0, 1, 6) else None) for i, name in enumerate(COLUMNS)]
    head = tag("thead", tag("tr", names))
    body = tag("tbody", [_row(judged) for judged in question.maps])
    title = tag("caption", f"All maps for {question.target}, best first")
    label = f"Numbers for {question.target}"
    return tag("div", tag("table", title, head, body), class_="scroll", tabindex="0", role="region", aria_label=label)


def _row(judged: Judged) -> Markup:
    name = tag("th", judged.title, tag("span", "baseline", class_="tag") if judged.baseline else None, scope="row")
    layer = tag("td", tag("code", judged.attribution.layer) if judged.attribution.layer else "–", class_="words")
    deletion, insertion = (judged.evidence.get(key, float("nan")) for key in ("deletion", "insertion"))
    cells = [_cell(value, number(value)) for value in (deletion, insertion, judged.faithfulness)]
    p = judged.verdict.p_value if judged.verdict is not None else float("nan")
    said = STATUS_WORDS[judged.attribution.status[0]] if judged.verdict is None else SHORT[judged.verdict.outcome]
    verdict = tag("td", "not a reason" if judged.stands and not judged.is_reason else said, class_="words")
    row = [
        name,
        layer,
        *cells,
        _cell(p, f"{p:.2g}" if isfinite(p) else "–"),
        verdict,
        _cell(judged.seconds, seconds(judged.seconds)),
    ]
    return tag("tr", row, class_="baseline" if judged.baseline else None)


def _cell(value: float, shown: str) -> Markup:
    return tag("td", shown, data_value=f"{value:.6g}" if isfinite(value) else None)
