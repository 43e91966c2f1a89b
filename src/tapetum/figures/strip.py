"""An HTML page that shows a film: a table of all frames, and a slider through them; one file that loads nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from torch import Tensor

from tapetum.data.images import data_uri
from tapetum.figures.theme import DARK, LIGHT, css_variables


def strip_page(
    title: str,
    names: Sequence[str],
    moments: Sequence[str],
    frames: Sequence[Sequence[Tensor]],
    seconds: float | int,
    note: str = "",
) -> str:
    """Returns the HTML. Without scripts the page is a table: one row per picture, one column per frame, and captions.

    Args: `frames` a picture (3, h, w) for each moment and name; `note` kept in the page's head as its description.
    """
    script = _resource("strip.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    light, dark = (f":root {{ {css_variables(palette)} }}" for palette in (LIGHT, DARK))
    style = f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n{_resource('strip.css')}"
    interval_ms = max(20, round(1000 * seconds / len(frames)))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="tapetum">
<meta name="description" content="{escape(note)}">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<section class="player" aria-label="One moment at a time" data-interval="{interval_ms}" hidden>
<div class="stage"></div>
<div class="controls">
<button type="button" id="play" aria-pressed="false">Play</button>
<label for="moment">Moment</label>
<input type="range" id="moment" min="0" max="{len(frames) - 1}" step="1" value="{len(frames) - 1}">
<output for="moment"></output>
</div>
</section>
<h2>All moments</h2>
<div class="wide" tabindex="0" role="region" aria-label="All moments, scrolls sideways">
{_table(names, moments, frames)}
</div>
</main>
<script>{script}</script>
</body>
</html>
"""


def _table(names: Sequence[str], moments: Sequence[str], frames: Sequence[Sequence[Tensor]]) -> str:
    head = "".join(f'<th scope="col">{escape(moment)}</th>' for moment in moments)
    rows: list[str] = []
    for row, name in enumerate(names):
        cells = "".join(_cell(name, moment, frame[row]) for moment, frame in zip(moments, frames, strict=True))
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    return f"<table><thead><tr><td></td>{head}</tr></thead>\n<tbody>{''.join(rows)}</tbody></table>"


def _cell(name: str, moment: str, pixels: Tensor) -> str:
    height, width = pixels.shape[-2:]
    words = f"{name}, {moment}"
    return f'<td><img src="{data_uri(pixels)}" alt="{escape(words)}" width="{width}" height="{height}"></td>'


def _resource(name: str) -> str:
    return (files("tapetum.figures") / name).read_text("utf-8")
