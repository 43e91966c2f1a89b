"""A Sphinx extension: formulas as MathML, which browsers render natively, without scripts."""

from __future__ import annotations

import re
from typing import Any

import latex2mathml.converter
from docutils import nodes
from sphinx.util import logging

_log = logging.getLogger(__name__)


def setup(app: Any) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(writer: Any, node: Any) -> None:
    _write(writer, node, "inline")


def _block(writer: Any, node: Any) -> None:
    _write(writer, node, "block")


def formula(text: str, display: str) -> str:
    """Converts LaTeX to MathML, "inline" or "block"; refuses commands that the converter would print as text."""
    found = latex2mathml.converter.convert(text, display=display)
    if left := re.search(r"\\[A-Za-z_]+", found):
        raise ValueError(f"{left[0]} is not understood")
    return found


def _write(writer: Any, node: Any, display: str) -> None:
    """Writes the formula; an unreadable one is a warning, which ends the build."""
    try:
        found = formula(node.astext(), display)
    except Exception as error:
        _log.warning("formula %r: %s: %s", node.astext(), type(error).__name__, error, location=node)
        found = ""
    writer.body.append(f'<div class="math">{found}</div>\n' if display == "block" else found)
    raise nodes.SkipNode
