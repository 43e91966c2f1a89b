"""Draws the charts of an audit's page as HTML and SVG in the colours of the page."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

from tapetum.reports.audits import words
from tapetum.reports.markup import Markup, tag
from tapetum.types import Audit

MOST = 24
"""Classes in a chart, at most."""

LEFT, RIGHT, HEIGHT = 4.0, 396.0, 20.0


def effects(found: Audit) -> Markup:
    """Draws a row per cue: a dot per class along the points of probability, the bar to reach, and the largest effect."""
    values = [float(one) for effect in found.effects.values() for one in effect]
    low, high = min(-0.05, *values), max(0.1, *values)

    def x(value: float) -> float:
        return LEFT + (RIGHT - LEFT) * (value - low) / (high - low)

    rows = [_row(found, kind, x) for kind in found.effects]
    ticks = [tag("span", f"{words.pts(low)}", class_="low"), tag("span", f"{words.pts(high)} points", class_="high")]
    zero = tag("span", "0", class_="zero", style=f"--at:{100 * x(0.0) / 400:.1f}%")
    axis = tag("div", tag("span"), tag("div", ticks, zero, class_="scale"), tag("span"), class_="row", aria_hidden="true")
    return tag("div", rows, axis, class_="effects")


def _row(found: Audit, kind: str, x: Callable[[float], float]) -> Markup:
    accused = {one.label for one in found.suspicions if one.kind == kind}
    effect = found.effects[kind].tolist()
    marks = [
        tag("path", d=f"M{LEFT} {HEIGHT / 2}H{RIGHT}", class_="rail"),
        tag("path", d=f"M{x(0.0):.1f} 2V{HEIGHT - 2}", class_="axis"),
        tag("path", d=f"M{x(found.bars[kind]):.1f} 3V{HEIGHT - 3}", class_="least"),
    ]
    order = sorted(zip(effect, found.classes, strict=True), key=lambda pair: pair[1] in accused)
    for value, label in order:
        name = tag("title", f"{label}: {words.pts(value)} points")
        marks.append(
            tag("circle", name, cx=f"{x(value):.1f}", cy=HEIGHT / 2, r=4, class_="found" if label in accused else "class")
        )
    best = max(range(len(effect)), key=effect.__getitem__)
    said = f"{found.classes[best]} {words.pts(effect[best])}"
    label = f"{words.NAMES[kind]}: largest effect {words.pts(effect[best])} points, on {found.classes[best]}"
    picture = tag("svg", marks, viewBox=f"0 0 400 {HEIGHT:g}", role="img", aria_label=label)
    return tag("div", tag("span", words.capital(words.NAMES[kind])), picture, tag("span", said, class_="most"), class_="row")


def by_surroundings(found: Audit) -> list[int]:
    """Rows of the classes, those first whose answers rest most on their surroundings."""
    rows = found.reliance.nan_to_num(nan=-1)
    order = (rows[:, 1] - rows[:, 0]).argsort(descending=True).tolist()
    return order[:MOST]


def reliance(found: Audit, order: list[int]) -> Markup:
    """Draws two bars per class: what another class's object, and another class's surroundings, take away."""
    rows = found.reliance[order]
    top = max(0.1, float(rows.nan_to_num(nan=0).max()))
    key = tag(
        "p",
        tag("span", tag("i", class_="swatch object"), " the object"),
        tag("span", tag("i", class_="swatch around"), " the surroundings"),
        class_="legend",
    )  # fmt: skip
    lines = [
        tag(
            "div",
            tag("span", found.classes[i]),
            tag("div", [_bar(value, top, kind) for value, kind in zip(row[:2], ("object", "around"), strict=True)]),
            class_="row",
        )
        for i, row in zip(order, rows.tolist(), strict=True)
    ]
    return tag("div", key, lines, class_="reliance")


def _bar(value: float, top: float, kind: str) -> Markup:
    share = max(0.0, value) / top if isfinite(value) else 0.0
    number = words.pts(value) if isfinite(value) else "no object"
    line = tag("i", class_=kind, style=f"--share:{100 * share:.1f}%")
    return tag("div", line, tag("span", number), class_="line")
