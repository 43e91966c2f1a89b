"""Draws the share of each map inside its mask: maps with outlines of the masks."""

from __future__ import annotations

from math import ceil
from typing import Any

from torch import Tensor

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.overlay import colorize, overlay
from tapetum.figures.theme import LIGHT, Figure
from tapetum.figures.words import some
from tapetum.types import Localization, TapetumError
from tapetum.types.outcomes import REASONS

MAX_MAPS = 16
ACROSS = 8
SIDE_IN = 1.35
WIDE_IN = 2.6  # of one panel, where there are few pictures
MEANS = {
    "relevance_mass": "the share of the positive relevance inside the outline",
    "relevance_rank": "the share of the highest pixels that are inside the outline",
    "top_k_intersection": "the share of the k highest pixels that are inside the outline",
    "localization_auc": "the chance that a pixel inside the outline is ranked above one outside",
    "pointing_game": "1 if the highest pixel hits the outlined object",
}


@draw.register
def _(result: Localization, pixels: Tensor | None = None) -> Figure:
    """Draws each map with the outline of its mask and its value; over its picture if `pixels` (n, 3, h, w) are given."""
    if pixels is not None and len(pixels) != len(result):
        raise TapetumError(f"{len(result)} maps need {len(result)} pictures, got {len(pixels)}")
    n = min(len(result), MAX_MAPS)
    columns = min(n, ACROSS)
    rows = ceil(n / columns)
    title = f"{result.metric.replace('_', ' ').capitalize()} of {result.method}{some(n, len(result))}"
    meaning = MEANS.get(result.metric, "measured against the outline")
    subtitle = f"{result.words} · {meaning}, which covers {float(result.area.mean()):.0%} of the picture"
    side = SIDE_IN if n > 3 else WIDE_IN
    figure = canvas.page(max(columns * side, 8.6), rows * (side + 0.4), title, subtitle)
    panels = canvas.panels(figure, rows, columns)
    for i in range(n):
        axes = panels[i // columns, i % columns]
        status = result.status[i]
        number = f"{float(result.value[i]):.2f}" if status == "ok" else REASONS[status]
        canvas.image(axes, _picture(result, pixels, i), number, note=result.target[i])
        _outline(axes, result.masks[i])
    return figure


def _picture(result: Localization, pixels: Tensor | None, i: int) -> Tensor:
    relevance = result.maps[i].detach().float().cpu().clamp(min=0)
    if result.status[i] in ("non_finite", "constant", "no_positive_evidence"):
        relevance = relevance.new_zeros(relevance.shape)
    return colorize(relevance, "positive") if pixels is None else overlay(pixels[i].float().cpu(), relevance, "positive")


def _outline(axes: Any, mask: Tensor) -> None:
    """Draws a mask's outline as a light line with a dark edge, which can be seen on any ground."""
    edge = mask.float().cpu().numpy()
    if 0 < edge.mean() < 1:
        axes.contour(edge, levels=[0.5], colors=LIGHT.ink, linewidths=2.0)
        axes.contour(edge, levels=[0.5], colors=LIGHT.card, linewidths=1.0)
