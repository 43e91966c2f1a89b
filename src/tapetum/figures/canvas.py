"""Blank pages of figures, and the marks that all figures use. matplotlib is imported with the first page."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tapetum.figures.theme import LABEL_PT, LIGHT, NOTE_PT, TITLE_PT, Figure, anchors
from tapetum.notes import is_caution
from tapetum.types import Reduce

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tapetum.figures.page import Page
else:
    Axes = Page = Any

HEAD_IN = 0.75  # inches kept at the top for title and subtitle
LEAST_PT = 6.0
MOST_LINES = 40  # number of lines on a page of text


def page(width_in: float, height_in: float, title: str, subtitle: str = "") -> Page:
    """Returns an empty page with a title and a subtitle of up to two lines, with room for axes below them."""
    from tapetum.figures.page import Page

    top = 1 - HEAD_IN / (height_in + HEAD_IN)
    figure = Page(width_in, height_in + HEAD_IN, title, top)
    rise = (1 - top) / HEAD_IN
    _text(figure, 0.1 / width_in, 1 - 0.14 * rise, title, TITLE_PT, LIGHT.ink, weight="bold")
    down_in = 0.36 if "\n" in subtitle else 0.42
    _text(figure, 0.1 / width_in, 1 - down_in * rise, subtitle, LABEL_PT, LIGHT.muted, linespacing=1.25)
    return figure


def written(title: str, lines: Sequence[str]) -> Page:
    """Returns a page of text with a title; lines that do not fit are left out."""
    shown = [*lines[:MOST_LINES], *["..."] * (len(lines) > MOST_LINES)]
    letters = min(max(map(len, shown), default=0), 160)
    figure = page(max(4.2, 0.6 * NOTE_PT / 72 * letters + 0.3), 1.3 * NOTE_PT / 72 * len(shown) + 0.1, title)
    axes = figure.subplots()
    axes.set_axis_off()
    style = {"family": "monospace", "fontsize": NOTE_PT, "color": LIGHT.ink, "linespacing": 1.3}
    axes.text(0, 1, "\n".join(line[:letters] for line in shown), va="top", parse_math=False, **style)
    return figure


def footnotes(figure: Figure, notes: Sequence[str]) -> None:
    """Writes notes below the content of a finished page, which becomes higher; cautions stand out."""
    width, height = figure.get_size_inches()
    letters = max(24, int((width - 0.2) * 72 / (0.5 * NOTE_PT)))  # a letter is about half as wide as it is high
    blocks = [(wrap(note, letters), LIGHT.caution if is_caution(note) else LIGHT.muted) for note in notes]
    line = 1.3 * NOTE_PT / 72
    room = line * sum(len(lines) for lines, _ in blocks) + 0.14
    share = height / (height + room)
    for text in figure.texts:
        text.set_y(1 - (1 - text.get_position()[1]) * share)
    layout: Any = figure.get_layout_engine()
    x, y, w, h = layout.get()["rect"]
    layout.set(rect=(x, 1 - (1 - y) * share, w, h * share))
    figure.set_size_inches(width, height + room)
    top = room - 0.02
    for lines, color in blocks:
        style = {"color": color, "fontsize": NOTE_PT, "va": "top", "parse_math": False, "linespacing": 1.2}
        figure.text(0.1 / width, top / (height + room), "\n".join(lines), **style)
        top -= line * len(lines)


def numbers(axes: Axes, values: Tensor, form: str = "g", ground: Tensor | None = None) -> None:
    """Writes each value (h, w) into its cell of an image.

    `ground` is the brightness of the cells from 0 to 1; numbers on dark cells are light.
    """
    dark = values.new_zeros(values.shape, dtype=torch.bool) if ground is None else ground < 0.5
    for (row, column), value in np.ndenumerate(values.detach().float().cpu().numpy()):
        color = LIGHT.card if bool(dark[row, column]) else LIGHT.ink
        axes.text(column, row, f"{value:{form}}", fontsize=NOTE_PT, color=color, ha="center", va="center")


def frame(axes: Axes, box: tuple[float, float, float, float]) -> None:
    """Draws a thin frame on an image; `box` is (top, left, bottom, right) in pixels of the image.

    The line is light and dark, so that it can be seen on any picture.
    """
    from matplotlib.patches import Rectangle

    top, left, bottom, right = box
    place = (left, top), right - left, bottom - top
    for width, color in ((2.6, LIGHT.card), (1.3, LIGHT.accent)):
        axes.add_patch(Rectangle(*place, fill=False, edgecolor=color, linewidth=width, clip_on=False))


def _text(figure: Figure, x: float, y: float, words: str, size: float, color: str, **style) -> None:
    """Writes text that stays on the page: long text becomes smaller, down to LEAST_PT."""
    # parse_math=False: "$" in a label is a dollar, not the start of a formula
    text = figure.text(x, y, words, fontsize=size, color=color, va="top", parse_math=False, **style)
    room = (1 - 2 * x) * figure.bbox.width
    wide = text.get_window_extent().width
    if wide > room:
        text.set_fontsize(max(LEAST_PT, size * room / wide))


def panels(figure: Any, rows: int, columns: int) -> Any:
    """Returns a grid of axes (rows, columns); those that get no image stay blank."""
    found = figure.subplots(rows, columns, squeeze=False)
    for axes in found.flat:
        axes.set_axis_off()
    return found


def image(axes: Axes, pixels: Tensor, title: str = "", smooth: bool = True, note: str = "") -> None:
    """Draws pixels (3, h, w) in [0, 1] without ticks or frame, with a title above and a note below."""
    axes.set_axis_on()
    picture = pixels.detach().float().cpu().clamp(0, 1).movedim(0, -1).numpy()
    axes.imshow(picture, interpolation="auto" if smooth else "nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_anchor("W")
    heading(axes, title)
    if note:
        below(axes, note)


def below(axes: Axes, note: str, color: str = LIGHT.muted) -> None:
    axes.set_xlabel(note, fontsize=NOTE_PT, color=color, loc="left", labelpad=3, parse_math=False)


def heading(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=LABEL_PT, color=LIGHT.ink, loc="left", parse_math=False, pad=4)


def side(axes: Axes, words: str) -> None:
    """Writes the label of a row of panels along their left edge."""
    axes.set_ylabel(words, fontsize=LABEL_PT, color=LIGHT.muted, parse_math=False)


def rows(axes: Axes, names: Sequence[str], size: float = LABEL_PT) -> None:
    """Writes the names of a chart's rows, the first at y = 0, beside its left edge; follows `plot`."""
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", labelsize=size, colors=LIGHT.ink, length=0)


def colorbar(axes: Axes, kind: Reduce, top: float, label: str) -> None:
    """Draws the colour scale beside a map: from 0 to `top`, or from -`top` to `top` for a signed map."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.ticker import MaxNLocator

    colormap = LinearSegmentedColormap.from_list(kind, anchors(kind).numpy())
    scale = ScalarMappable(Normalize(-top if kind == "sum" else 0, top), colormap)
    bar = axes.figure.colorbar(scale, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label(label, fontsize=NOTE_PT, color=LIGHT.muted, parse_math=False)
    bar.ax.tick_params(labelsize=NOTE_PT, colors=LIGHT.muted, width=0.5)
    bar.ax.yaxis.get_offset_text().set(size=NOTE_PT, color=LIGHT.muted)
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(4, symmetric=kind == "sum")
    bar.update_ticks()


def plot(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Prepares the axes of a chart: labels, ticks, and a thin frame."""
    axes.set_xlabel(xlabel, fontsize=LABEL_PT, color=LIGHT.muted)
    axes.set_ylabel(ylabel, fontsize=LABEL_PT, color=LIGHT.muted)
    axes.tick_params(labelsize=NOTE_PT, colors=LIGHT.muted, width=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=LIGHT.line)
    axes.grid(axis="y", color=LIGHT.line, linewidth=0.6)
    axes.set_axisbelow(True)
