"""Writes a comparison of two networks for people (report.html), for programs (JSON), and for a CI server (JUnit)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tapetum.figures import png
from tapetum.keeping.places import ELSEWHERE
from tapetum.keeping.whole import write_whole
from tapetum.reports.machine import nan_as_null
from tapetum.reports.markup import Markup, tag
from tapetum.reports.page import write_page
from tapetum.types import Comparison
from tapetum.types.checks import listed

STYLE = """
h1 { max-width: none; font-size: clamp(1.6rem, 4vw, 2.6rem); }
section { margin-top: 2.5rem; }
section h2 { font-size: 1.5rem; margin-bottom: 0.75rem; }
.verdict { font: 400 1.375rem/1.45 var(--serif); max-width: 44rem; }
.wide { overflow-x: auto; }
.wide img { min-width: 44rem; width: 100%; border-radius: 6px; }
table { border-collapse: collapse; font-size: 0.9375rem; }
th { text-align: left; color: var(--muted); font-weight: 400; font-size: 0.8125rem; }
td, th { padding: 0.3rem 1.25rem 0.3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.worse { color: var(--caution); }
"""
MOST = 200
"""Changed predictions that the page lists; comparison.json has all."""


def page(path: Path, result: Comparison, command: str) -> Path:
    """Writes the page, which contains its picture and loads nothing."""
    title = f"{result.a} and {result.b}, side by side"
    body = (
        tag("header", tag("p", "tapetum", class_="mark"), tag("h1", title), _facts(result), class_="top"),
        tag(
            "main",
            tag("p", result.verdict, class_="verdict"),
            _section("Agreement, layers, maps", tag("div", _figure(result), class_="wide")),
            _changed(result),
            _groups(result),
            _list("Notes", result.notes),
            _list("Pictures that were left out", [f"{name}: {why}" for name, why in result.skipped.items()]),
        ),
        tag("footer", tag("p", "To make this page again: ", tag("code", command), class_="note")),
    )
    return write_page(path, title, body, files("tapetum.reports").joinpath("page.css").read_text("utf-8") + STYLE)


def _facts(result: Comparison) -> Markup:
    pairs = {"pictures": f"{len(result.pictures)} of {result.data}", "agreement of maps": f"{result.measured:.3f}"}
    if result.bar is not None:
        pairs["bar"] = f"{result.bar:.3f}"
    if result.null is not None:
        pairs["null"] = result.null.words
    if result.accuracy is not None:
        pairs["right"] = " and ".join(f"{share:.1%}" for share in result.accuracy)
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs.items()], class_="facts")


def _figure(result: Comparison) -> Markup:
    source = f"data:image/png;base64,{base64.b64encode(png(result)).decode()}"
    return tag("img", src=source, alt=f"Agreement of maps, likeness of layers, and maps of pictures. {result.verdict}")


def _section(title: str, *content: Any) -> Markup:
    return tag("section", tag("h2", title), content)


def _list(title: str, lines: Sequence[str]) -> Markup | None:
    return _section(title, tag("ul", [tag("li", line, class_="note") for line in lines])) if lines else None


def _changed(result: Comparison) -> Markup | None:
    if not result.changed:
        return None
    head = tag("tr", [tag("th", name) for name in ("picture", result.a, result.b, "truth", "")])
    rows = [
        tag(
            "tr",
            tag("td", tag("code", one.picture)),
            tag("td", f"{one.before} {one.before_probability:.2f}"),
            tag("td", f"{one.after} {one.after_probability:.2f}"),
            tag("td", one.truth or "unknown"),
            tag("td", "" if one.outcome == "unknown" else one.outcome, class_=one.outcome),
        )
        for one in result.changed[:MOST]
    ]
    count = f"{len(result.changed)} of {len(result.pictures)} predictions changed"
    return _section(count, tag("div", tag("table", head, rows), class_="wide"))


def _groups(result: Comparison) -> Markup | None:
    keepers = {"a": result.a, "b": result.b}
    lines = [
        f"{keepers[one.keeper]} keeps them together ({one.near:.2f}), the other does not ({one.far:.2f})"
        f"{'' if one.p_value is None else f', p = {one.p_value:.2g}'}: {', '.join(one.pictures)}"
        for one in result.telling_groups
    ]
    return _list("Pictures that one network keeps together", lines)


def as_json(result: Comparison) -> dict[str, Any]:
    """Returns the comparison as JSON types; numbers that are not finite become null."""
    numbers = listed(result.probabilities), listed(result.agreement)
    rows = zip(result.pictures, result.truths, result.answers, *numbers, strict=True)
    null = result.null
    return nan_as_null(
        {
            "a": result.a,
            "b": result.b,
            "data": result.data,
            "verdict": result.verdict,
            "agreement": result.measured,
            "mean_agreement": result.mean_agreement,
            "bar": result.bar,
            "below": result.below,
            "null": None if null is None else {**vars(null), "words": null.words},
            "accuracy": None if result.accuracy is None else list(result.accuracy),
            "method": result.method,
            "layers": list(result.layers),
            "changed": [one.__dict__ for one in result.changed],
            "groups": [{**one.__dict__, "apart": one.apart} for one in result.groups],
            "cka": {
                "layers": list(result.cka.layers),
                "others": list(result.cka.others),
                "values": listed(result.cka.values),
                "errors": listed(result.cka.errors),
            },
            "units": {"layer": result.units.layer, "other": result.units.other, "words": str(result.units)},
            "pictures": [
                {"picture": name, "truth": truth, "answers": list(pair), "probabilities": both, "agreement": agreed}
                for name, truth, pair, both, agreed in rows
            ],
            "skipped": dict(result.skipped),
            "notes": list(result.notes),
        }
    )


def write_junit(path: Path, result: Comparison, seconds: float) -> None:
    """Writes a JUnit file with one test: the agreement of the maps with its bar."""
    failed = result.below is True
    suite = ElementTree.Element(
        "testsuite", name="tapetum compare", tests="1", failures=str(int(failed)), time=f"{seconds:.1f}"
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in {"agreement": result.measured, "bar": result.bar, "pictures": len(result.pictures)}.items():
        ElementTree.SubElement(properties, "property", name=name, value=str(value))
    name = f"{result.b} looks where {result.a} looks"
    case = ElementTree.SubElement(suite, "testcase", classname="tapetum.compare", name=name, time=f"{seconds:.1f}")
    if failed:
        message = f"agreement {result.measured:.3f} is below the bar {result.bar:.3f}"
        ElementTree.SubElement(case, "failure", message=message, type="below").text = result.verdict
    elif result.below is None:
        ElementTree.SubElement(case, "skipped", message=result.verdict)
    ElementTree.SubElement(case, "system-out").text = "".join(one for one in str(result) if one.isprintable() or one == "\n")
    write_whole(path, ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True), ELSEWHERE)
