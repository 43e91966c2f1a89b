"""Writes an executed lesson as one self-contained page: text, code, output and pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import latex2mathml.converter
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from tapetum.course.links import site_address, to_site
from tapetum.course.playing import Played
from tapetum.course.scripts import Lesson
from tapetum.reports.markup import Markup, tag, text
from tapetum.reports.page import write_page


def write_lesson(file: Path, lesson: Lesson, played: Sequence[Played], *, command: str) -> Path:
    """Writes a lesson's page to `file` and returns the path; the page shows `command`, which reproduces it."""
    made = tag("footer", tag("p", "To make this page again: ", tag("code", command)), tag("p", f"tapetum {version('tapetum')}"))
    body = (tag("main", [_cell(one) for one in played]), made)
    style = files("tapetum.course").joinpath("page.css").read_text("utf-8")
    file.parent.mkdir(parents=True, exist_ok=True)
    return write_page(file, f"{lesson.number} · {lesson.title} · tapetum", body, style)


def _cell(played: Played) -> Markup:
    """Returns the HTML of a cell: its text, or its code with the output below."""
    if played.cell.kind == "markdown":
        return Markup(markdown(to_site(played.cell.text, site_address())))
    outcome: list[Any] = [tag("pre", tag("code", played.cell.text), class_="code")]
    if played.printed or played.text:
        outcome.append(tag("pre", "\n".join(filter(None, [played.printed.rstrip(), played.text])), class_="printed"))
    if played.picture is not None:
        png, title, width = played.picture
        address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        outcome.append(tag("img", src=address, alt=title, width=width))
    if played.error:
        outcome.append(tag("p", tag("strong", "The lesson stopped here: "), played.error, class_="error"))
    return text(outcome)


def markdown(words: str) -> str:
    """Converts CommonMark with tables and formulas to HTML; formulas become MathML, which browsers render natively."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")

    def formula(latex: str, options: Any) -> str:
        return latex2mathml.converter.convert(latex, display="block" if options["display_mode"] else "inline")

    parser.use(dollarmath_plugin, allow_space=False, double_inline=True, renderer=formula)
    return str(parser.render(words))
