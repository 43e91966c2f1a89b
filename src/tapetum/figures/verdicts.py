"""Draws verdicts: the place of each map among random maps, the image's edges and a blob in the middle."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, Figure
from tapetum.figures.words import some
from tapetum.types.verdicts import SHORT, Verdict, Verdicts

MOST = 16
ROW_IN = 0.52
STANDS = "#009e73"  # Okabe and Ito's green
WHAT = "insertion − deletion in log-odds as a share of the range; 0 is chance"


@draw.register
def _(result: Verdict) -> Figure:
    """Draws the place of one map among random maps."""
    return _drawn([result], f"{result.method} of {result.target}: {SHORT[result.outcome]}", result.words)


@draw.register
def _(result: Verdicts) -> Figure:
    """Draws a row per map: grey marks are random maps, the filled one is the map."""
    shown = result.each[:MOST]
    if not shown:
        return canvas.page(8.6, 0.75, "No maps were judged", "there are no verdicts in this result")
    standing = sum(one.stands for one in result.each)
    title = f"{standing} of {len(result.each)} maps stand{'s' * (standing == 1)} up{some(len(shown), len(result.each))}"
    tried = f", corrected for {result.maps} maps tried" if result.maps > 1 else ""
    return _drawn(shown, title, f"p at most {shown[0].level:g} against random maps{tried}; above the edges and the middle")


def _drawn(shown: Any, title: str, subtitle: str) -> Figure:
    figure = canvas.page(8.6, len(shown) * ROW_IN + 0.75, title, subtitle)
    axes: Any = figure.subplots()
    labels: list[str] = []
    for row, one in enumerate(shown):
        labels.append(f"{one.method}\n{one.target}")
        if not one.tested:
            axes.text(-1, row, SHORT[one.outcome], fontsize=LABEL_PT, color=LIGHT.muted, va="bottom")
            continue
        _row(axes, row, one)
    canvas.plot(axes, WHAT, "")
    axes.axvline(0, color=LIGHT.muted, linewidth=0.6, zorder=0)
    axes.set(xlim=(-1.08, 1.62), ylim=(len(shown) - 0.45, -0.75))
    axes.set_yticks(range(len(shown)), labels)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    axes.tick_params(axis="y", labelsize=NOTE_PT, length=0)
    axes.legend(*_key(axes), fontsize=NOTE_PT, frameon=False, loc="upper left", ncols=4, handletextpad=0.3, borderpad=0)
    return figure


def _row(axes: Any, row: int, one: Verdict) -> None:
    null = np.sort(one.null.cpu().numpy())
    shaken = row + 0.28 * (np.modf(np.arange(len(null)) * 0.618)[0] - 0.5)
    axes.scatter(null, shaken, s=5, color=LIGHT.muted, alpha=0.45, linewidths=0, label="random maps")
    axes.scatter(one.edges, row, marker="^", s=34, facecolor="none", edgecolor=LIGHT.ink, linewidths=0.9, label="edges")
    axes.scatter(one.centre, row, marker="o", s=30, facecolor="none", edgecolor=LIGHT.ink, linewidths=0.9, label="middle")
    color = STANDS if one.stands else LIGHT.caution
    axes.scatter(one.faithfulness, row, marker="D", s=34, color=color, linewidths=0, label="the map", zorder=3)
    words = f"{SHORT[one.outcome]}\np = {one.p_value:.2g}"
    axes.text(1.08, row, words, fontsize=NOTE_PT, color=LIGHT.ink, va="center", ha="left", linespacing=1.2)


def _key(axes: Any) -> tuple[list[Any], list[str]]:
    """Returns handles and names of the marks, each once."""
    handles, names = axes.get_legend_handles_labels()
    found = dict(zip(names, handles, strict=True))
    return list(found.values()), list(found)
