"""Writes `report.html`: the explanations of one or several images as one self-contained page."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from tapetum.data.images import data_uri
from tapetum.data.preprocessing import thumbnail
from tapetum.figures.film import MARK
from tapetum.figures.theme import DARK, DIVERGING, LIGHT, SEQUENTIAL, css_variables
from tapetum.keeping.places import ELSEWHERE
from tapetum.keeping.whole import write_whole
from tapetum.notes import is_caution
from tapetum.reports.fragments import DEPTHS, bars, card, facts, found, in_order, maps_table, null_strip
from tapetum.reports.markup import Markup, tag, text
from tapetum.reports.words import line_name, line_value, percent, three_digits
from tapetum.types.explanations import Explanation, Question
from tapetum.types.verdicts import SHORT

PHOTO_PX = 1200  # longer side of the photograph on the page, in px
THUMB_PX = 240


def write_report(
    folder: Path,
    explanations: Sequence[Explanation],
    *,
    model: str,
    weights: str | None = None,
    told: Sequence[str] = (),
    model_facts: Mapping[str, str],
    refused: Sequence[tuple[str, str]],
    versions: Mapping[str, str],
    seed: int,
) -> Path:
    """Writes `folder/report.html` and returns its path. The page contains its pictures and loads nothing.

    `refused` lists the files that gave no explanation, each with the reason; `versions` is {library: version}.
    """
    alone = len(explanations) == 1
    parts = [_part(explanation, i, alone) for i, explanation in enumerate(explanations, 1)]  # each is opened only once
    title = f"What {model} saw in {parts[0].name if alone else f'{len(parts)} photographs'}"
    options = ["--model", model, *(["--weights", weights] if weights else []), *told]
    body = (
        tag("a", "Skip to the answers", href="#main", class_="skip"),
        tag("header", tag("p", "tapetum", class_="mark"), tag("h1", title), facts(model_facts, "facts"), class_="top"),
        None
        if alone
        else tag("nav", tag("ol", [tag("li", part.thumb) for part in parts]), class_="index", aria_label="Images"),
        tag(
            "main",
            [part.image for part in parts],
            _reasons(tag("h2", "Files that could not be explained"), dict(refused), "section"),
            id="main",
        ),
        _footer(options, [part.file for part in parts], versions, seed),
    )
    folder.mkdir(parents=True, exist_ok=True)
    return write_page(folder / "report.html", title, body, _style(parts), resource("page.js"))


class _ImagePart(NamedTuple):
    """The parts of the page that belong to one image."""

    name: str
    file: str
    thumb: Markup
    image: Markup
    crop: str


def _part(explanation: Explanation, i: int, alone: bool) -> _ImagePart:
    crop = f".crop-{i}{{background-image:url({data_uri(explanation.pixels[0])})}}"
    thumb = text(None) if alone else _thumb(explanation, i)
    return _ImagePart(explanation.name, explanation.file, thumb, _image(explanation, i, alone), crop)


def write_page(path: Path, title: str, body: Sequence[Markup | None], style: str, script: str = "") -> Path:
    """Writes an HTML page with tapetum's light and dark colours and returns its path; a failure leaves no partial file.

    The page's security policy allows only its own script and embedded pictures.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    policy += f"; script-src 'sha256-{digest}'" if script else ""
    light, dark = (f":root{{{css_variables(palette)}}}" for palette in (LIGHT, DARK))
    colors = f"{light}\n@media screen and (prefers-color-scheme:dark){{{dark}}}\n"
    head = (
        tag("meta", charset="utf-8"),
        tag("meta", name="generator", content=MARK),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(colors + style)),
    )
    end = tag("script", Markup(script)) if script else None
    page = "<!doctype html>\n" + tag("html", tag("head", head), tag("body", body, end), lang="en") + "\n"
    write_whole(path, page.encode("utf-8", "replace"), ELSEWHERE)  # invalid bytes of file names become "?"
    return path


def _style(parts: Sequence[_ImagePart]) -> str:
    """Returns the page's CSS: style sheet, colour scales, and each image's crop as a background, embedded only once."""
    ramps = {"one-sided": SEQUENTIAL, "sum": DIVERGING}
    scales = [f".ramp.{name}{{background:linear-gradient(90deg,{','.join(colors)})}}" for name, colors in ramps.items()]
    return "\n".join([resource("page.css"), *scales, *(part.crop for part in parts)])


def _thumb(explanation: Explanation, i: int) -> Markup:
    picture = tag("img", src=data_uri(thumbnail(explanation.photo, THUMB_PX)[0]), alt="")
    answer = _answer(explanation)
    return tag("a", picture, tag("span", explanation.name, class_="file"), tag("span", answer), href=f"#image-{i}")


def _answer(explanation: Explanation) -> str:
    """Returns the top prediction with its probability or value; for a segmentation or detector, the explained target."""
    if not explanation.predictions:
        return explanation.questions[0].target
    first = explanation.predictions[0]
    return f"{line_name(first)}, {line_value(first)}"


def _image(explanation: Explanation, i: int, alone: bool) -> Markup:
    sections = (
        tag("h2", explanation.name, id=f"title-{i}", class_="unseen" if alone else None),
        _seen(explanation, i),
        _found(explanation),
        _mattered(explanation, i),
        _trust(explanation),
    )
    return tag("article", sections, id=f"image-{i}", class_="image", aria_labelledby=f"title-{i}")


ANSWERS = {"numbers": "Numbers", "labels": "Labels, each for itself"}
"""{kind of answer: heading above its predictions}; other kinds have "Predictions"."""


def _seen(explanation: Explanation, i: int) -> Markup:
    """Shows the photograph, the findings, the predictions, and the crop that the model saw."""
    height, width = explanation.photo.shape[-2:]
    source = data_uri(thumbnail(explanation.photo, PHOTO_PX)[0])
    alt = f"The photograph {explanation.name}; the model's answer is {_answer(explanation)}"
    photo = tag("figure", tag("img", src=source, alt=alt, width=width, height=height), class_="photo")
    said = tag("ul", [tag("li", finding) for finding in explanation.findings])
    findings = tag("div", tag("h3", "Findings"), said, class_="findings") if explanation.findings else None
    title = tag("h3", ANSWERS.get(explanation.answer, "Predictions"))
    answers = tag("div", title, bars(explanation.predictions), class_="answers") if explanation.predictions else None
    size = f"{explanation.pixels.shape[-1]} × {explanation.pixels.shape[-2]} pixels"
    view = tag("div", class_=f"view crop-{i}", role="img", aria_label=f"What the model saw of it: {explanation.crop}")
    words = tag("p", tag("strong", "What the model saw. "), f"{explanation.crop} ({size}).")
    notes = [tag("p", note, class_="note caution" if is_caution(note) else "note") for note in explanation.notes]
    look = tag("div", photo, tag("div", view, tag("div", words, notes), class_="saw"), class_="look")
    return tag("section", look, findings, answers, class_="seen")


def _found(explanation: Explanation) -> Markup:
    if not explanation.found:
        return text(None)
    names = DEPTHS.get(len(explanation.found), ("",) * len(explanation.found))
    layers = [found(maps, name) for maps, name in zip(explanation.found, names, strict=True)]
    lead = (
        "What the layers responded to. Each tile is one channel, bright where it is active; early layers answer to "
        "edges and textures, deep ones to parts and whole things, on an ever coarser grid."
    )
    return tag("section", tag("h3", "Found"), tag("p", lead, class_="lead"), layers, class_="found")


def _mattered(explanation: Explanation, i: int) -> Markup:
    lead = "Which places of the picture made the answer, according to each method. A map that stands up comes first."
    questions = [_question(explanation, question, i) for question in explanation.questions]
    return tag("section", tag("h3", "Mattered"), tag("p", lead, class_="lead"), questions, class_="mattered")


def _question(explanation: Explanation, question: Question, i: int) -> Markup:
    size = f", {three_digits(question.value)}" if question.value is not None else ""
    size = f", {percent(question.probability)}" if question.probability is not None else size
    ask = tag("h4", "Why ", tag("em", question.target), "?", tag("span", f"{question.role}{size}", class_="role"))
    cards = [card(explanation, question, m, f"crop-{i}") for m in in_order(question)]
    refused = _reasons(tag("h5", "Methods that gave no map"), question.refused)
    parts = (_legend(question), tag("div", cards, class_="cards"), maps_table(question), refused)
    return tag("section", tag("header", ask, _slider(question.target)), parts, class_="question")


def _slider(target: str) -> Markup:
    """Makes a slider that fades all maps of a question over the photo; hidden unless the page's script runs."""
    label = f"How strongly the maps for {target} are shown"
    bar = tag("input", type="range", min=0, max=100, value=100, aria_label=label)
    return tag("div", tag("span", "photo"), bar, tag("span", "map"), class_="mix", hidden=True)


def _legend(question: Question) -> Markup:
    """Explains the colour scales and the curves of a question's maps."""
    kinds = {"sum" if m.attribution.reduce == "sum" else "one-sided" for m in question.maps}
    one = tag("span", "low ", tag("i", class_="ramp one-sided", aria_hidden="true"), " high")
    two = tag("span", "against ", tag("i", class_="ramp sum", aria_hidden="true"), " for")
    shown = [mark for mark, kind in ((one, "one-sided"), (two, "sum")) if kind in kinds]
    scale = tag("span", "Grey is no evidence; each map has its own scale, up to its 99.5th percentile.")
    curve = tag(
        "span",
        f"Curves: the {question.measured_by} while pixels are put back ",
        tag("i", class_="key", aria_hidden="true"),
        " (insertion) or removed ",
        tag("i", class_="key deletion", aria_hidden="true"),
        " (deletion), all on one scale.",
    )
    return tag("p", shown, scale, curve, class_="legend") if shown else text(None)


def _reasons(title: Markup, refused: Mapping[str, str], element: str = "div") -> Markup | None:
    """Lists refusals with their reasons under a title; returns None if there are none."""
    items = [tag("div", tag("dt", name), tag("dd", why)) for name, why in refused.items()]
    return tag(element, title, tag("dl", items), class_="refused") if items else None


def _trust(explanation: Explanation) -> Markup:
    """Explains the verdict, and shows for each question the place of every map among random maps."""
    what = f"the {explanation.questions[0].measured_by}"
    how = (
        f"Squares of the picture are shown in the order of a map, and in the reverse order, while {what} of the target is "
        "followed. Faithfulness is how much more the first do than the last: about 1 for a perfect map, 0 by chance. A map "
        "stands up if it is more faithful than random maps (at most one in twenty would pass, of all methods that were tried "
        "together), than the edges of the picture, and than a blob in its middle, where photographers put things. The verdict "
        "is measured on a grid of its own."
    )
    verdicts = [
        part
        for question in explanation.questions
        for part in (tag("p", verdict(question), class_="verdict"), _places(question))
    ]
    return tag("section", tag("h3", "Trust"), tag("p", how, class_="lead"), verdicts, class_="trust")


def _places(question: Question) -> Markup | None:
    """Shows each tested map's place among random maps, the edges and the blob."""
    tested = [one for one in in_order(question) if one.verdict is not None and one.verdict.tested]
    if not tested:
        return None
    key = tag("p", "Grey: random maps; triangle: edges; circle: blob in the middle; diamond: the map.", class_="note")
    rows = [
        tag("div", tag("dt", one.title), tag("dd", null_strip(one), tag("span", one.verdict.words)))
        for one in tested
        if one.verdict
    ]
    return tag("div", key, tag("dl", rows), class_="places")


def verdict(question: Question) -> str:
    """Returns a sentence that says whether a map of a question stands up."""
    judged = [one.verdict for one in question.maps if one.verdict is not None]
    best, target = question.leader, question.target
    if best is not None and best.verdict is not None:
        return (
            f"For {target}, {best.title} leads and stands up (p = {best.verdict.p_value:.2g}, of {best.verdict.tried} tried)."
        )
    if any(one.stands for one in judged):
        return f"For {target}, only maps that hardly depend on the class stand up: they are no reason for it."
    if any(one.tested for one in judged):
        return f"For {target}, no map stands up. Do not rely on these maps."
    reasons = list(dict.fromkeys(SHORT[one.outcome] for one in judged))
    return f"For {target}, no map was tested" + (f": {'; '.join(reasons)}." if reasons else ", so none is shown to be right.")


def _footer(options: Sequence[str], names: Sequence[str], versions: Mapping[str, str], seed: int) -> Markup:
    command = shlex.join(["tapetum", "explain", *names[:3], *(["..."] if len(names) > 3 else []), *options])
    return made_by(command, {**versions, "seed": str(seed)})


def made_by(command: str, pairs: Mapping[str, str]) -> Markup:
    """Ends a page: the command that makes it again, and what it was made with."""
    again = tag("p", "To make this page again: ", tag("code", command))
    return tag("footer", tag("h2", "How this was made"), again, facts(pairs, "facts"))


def resource(name: str) -> str:
    """Returns the text of a file that lies beside this module."""
    return files("tapetum.reports").joinpath(name).read_text("utf-8")
