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


PLACES = {"best": "Best tested", "best unproven": "Best, yet below a baseline"}


def card(explanation: Explanation, question: Question, judged: Judged, place: str, crop_class: str) -> Markup:
    """Makes the card of one map: the picture, the method's summary, and the evidence for the map."""
    first = tag("p", PLACES[place], class_="place") if place else None
    mark = tag("span", "baseline", class_="tag") if judged.baseline else None
    title = tag("h5", judged.title, mark)
    summary = tag("p", judged.summary, class_="summary")
    body = tag("div", first, title, summary, shown_evidence(judged, question, known=explanation.notes), class_="body")
    classes = "card baseline" if judged.baseline else f"card {place}".strip()
    return tag("article", map_picture(explanation, question, judged, crop_class), body, class_=classes)


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
    """Shows a map's curves, deletion, insertion, their difference and the time, and those of its notes not in `known`."""
    shown = {
        "deletion ↓": number(judged.evidence.get("deletion", float("nan"))),
        "insertion ↑": number(judged.evidence.get("insertion", float("nan"))),
        "difference": number(judged.faithfulness),
        "time": seconds(judged.seconds),
    }
    origin = tag("p", caption(judged.attribution), class_="note")
    notes = [tag("p", note, class_="note") for note in judged.attribution.notes if note not in known]
    what = "Probability of the target" if question.probability is not None else "The number that is explained"
    chart = curves(judged.curves, f"{what} as pixels change, {judged.title}", _span(question))
    return tag("div", chart, facts(shown, "numbers"), origin, notes, class_="evidence")


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


COLUMNS = ("method", "layer", "deletion ↓", "insertion ↑", "difference ↑", "time", "map")


def maps_table(question: Question) -> Markup:
    """Makes a table of one question: a row per map with layer, deletion, insertion, difference, time and status."""
    names = [tag("th", name, scope="col", class_="words" if i < 2 else None) for i, name in enumerate(COLUMNS)]
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
    status = tag("td", STATUS_WORDS[judged.attribution.status[0]])
    row = [name, layer, *cells, _cell(judged.seconds, seconds(judged.seconds)), status]
    return tag("tr", row, class_="baseline" if judged.baseline else None)


def _cell(value: float, shown: str) -> Markup:
    return tag("td", shown, data_value=f"{value:.6g}" if isfinite(value) else None)
