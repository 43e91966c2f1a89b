"""Writes the page of five answers: questions, answers, charts, what was measured and what would make each false."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from tapetum.data.images import data_uri
from tapetum.figures.answers import charts
from tapetum.figures.page import figure_png
from tapetum.reports.fragments import facts
from tapetum.reports.machine import nan_as_null
from tapetum.reports.markup import Markup, tag
from tapetum.reports.page import write_page
from tapetum.types import Answer, DepthCurve, FiveAnswers
from tapetum.types.answers import QUESTIONS, at

SIGNS = {"yes": "beyond random weights", "no": "not beyond random weights or chance", "unsaid": "not measured"}

LEAD = (
    "Every answer was measured on your pictures. Lines with bands are this network with intervals of 95 %; dashed lines are "
    "networks of the same architecture with random weights. Only what they do not give, too, was learned."
)


def write_answers(folder: Path, found: FiveAnswers, *, words: Sequence[str], about: Mapping[str, str]) -> Path:
    """Writes `folder/report.html` and returns its path; `words` are the command line, `about` are facts for the head."""
    title = f"Five questions about {found.model}"
    index = tag("ol", [tag("li", tag("a", QUESTIONS[one.topic], href=f"#{one.topic}")) for one in found.answers])
    body = (
        tag("a", "Skip to the answers", href="#main", class_="skip"),
        tag("header", tag("p", "tapetum", class_="mark"), tag("h1", title), facts(about, "facts"), class_="top"),
        tag("p", LEAD, class_="lead"),
        tag("nav", index, aria_label="Questions"),
        tag("main", [_answer(one) for one in found.answers], _skipped(found.skipped), id="main"),
        _footer(found, words),
    )
    folder.mkdir(parents=True, exist_ok=True)
    style = "\n".join(files("tapetum.reports").joinpath(name).read_text("utf-8") for name in ("page.css", "answers.css"))
    return write_page(folder / "report.html", title, body, style)


def _answer(answer: Answer) -> Markup:
    """Shows one question: the verdict, the sentence, charts, inversions, what was measured, and all numbers."""
    shown = [_chart(panel, figure) for panel, figure in charts(answer).items()]
    how = tag(
        "dl",
        _pair("What was measured", answer.measured),
        _pair("What would make it false", f"if {answer.false_if}"),
        class_="how",
    )
    lost = [tag("p", f"Left out: {one}.", class_="note caution") for one in answer.left_out]
    parts = (
        tag("h2", answer.question),
        tag("p", SIGNS[answer.verdict], class_=f"sign {answer.verdict}"),
        tag("p", answer.sentence, class_="said"),
        lost,
        tag("div", shown, class_="charts") if shown else None,
        _pictures(answer),
        how,
        _numbers(answer),
    )
    return tag("section", parts, class_="answer", id=answer.topic)


def _pair(name: str, words: str) -> Markup:
    return tag("div", tag("dt", name), tag("dd", f"{words[:1].upper()}{words[1:]}."))


def _chart(panel: str, figure: object) -> Markup:
    picture = base64.b64encode(figure_png(figure, 192)).decode()  # pyright: ignore[reportArgumentType]
    image = tag("img", src=f"data:image/png;base64,{picture}", alt=f"Chart over the depth of the network: {panel}")
    return tag("figure", tag("figcaption", panel), image)


def _pictures(answer: Answer) -> Markup | None:
    if answer.pictures is None:
        return None
    pairs = zip(answer.pictures, answer.captions, strict=True)
    made = [
        tag("figure", tag("img", src=data_uri(one), alt=f"{_alt(caption)}"), tag("figcaption", caption))
        for one, caption in pairs
    ]
    return tag("div", made, class_="tiles")


def _alt(caption: str) -> str:
    return "The photograph that was inverted" if caption == "photograph" else f"The inversion of {caption}"


def _numbers(answer: Answer) -> Markup | None:
    """Lists every number by depth, as a table that opens."""
    if not answer.curves:
        return None
    depths = dict.fromkeys(layer for curve in answer.curves for layer in curve.layers)
    head = tag("tr", tag("th", "depth"), [tag("th", f"{curve.panel}, {curve.name}") for curve in answer.curves])
    rows = [tag("tr", tag("th", layer), [tag("td", at(curve, layer)) for curve in answer.curves]) for layer in depths]
    table = tag("table", tag("thead", head), tag("tbody", rows))
    return tag("details", tag("summary", "All numbers"), tag("div", table, class_="scroll"))


def _skipped(skipped: Mapping[str, str]) -> Markup | None:
    items = [tag("div", tag("dt", name), tag("dd", why)) for name, why in skipped.items()]
    return tag("section", tag("h2", "Pictures that were left out"), tag("dl", items), class_="refused") if items else None


def _footer(found: FiveAnswers, words: Sequence[str]) -> Markup:
    again = tag("p", "To make this page again: ", tag("code", shlex.join(words)))
    notes = [tag("p", note, class_="note") for note in found.notes]
    return tag("footer", tag("h2", "How this was made"), again, notes)


def answers_json(found: FiveAnswers) -> dict[str, object]:
    """Returns the answers as JSON types; numbers that are not finite become null."""
    made = [
        {
            "topic": one.topic,
            "question": one.question,
            "verdict": one.verdict,
            "sentence": one.sentence,
            "measured": one.measured,
            "false_if": one.false_if,
            "numbers": dict(one.numbers),
            "left_out": list(one.left_out),
            "curves": [_curve(curve) for curve in one.curves],
        }
        for one in found.answers
    ]
    about = {"pictures": found.pictures, "classes": list(found.classes), "layers": list(found.layers)}
    return nan_as_null({"answers": made, **about, "skipped": dict(found.skipped), "seconds": dict(found.seconds)})


def _curve(curve: DepthCurve) -> dict[str, object]:
    values = {name: getattr(curve, name).tolist() for name in ("values", "low", "high")}
    return {"panel": curve.panel, "name": curve.name, "layers": list(curve.layers), **values}
