"""Draws units over a data set: the six columns of an activation spectrum, and crops around the strongest places."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn.functional import interpolate

from tapetum.families.spectra import illustrated
from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import DIVERGING, LABEL_PT, LIGHT, NOTE_PT, Figure, rgb
from tapetum.figures.tiles import tile
from tapetum.figures.words import some
from tapetum.types import TapetumError
from tapetum.types.scans import GROUPS, Example, Group, SpectrumResult, TopKResult
from tapetum.types.spectra import OfDataSet, TopExamples, UnitExamples, UnitSpectra, UnitSpectrum

MAX_UNITS = 4  # in one figure; the title says when there are more
ACROSS = 3  # pictures side by side in a column, and in rows
MAX_TOPS = 9
COLUMN_IN, HISTOGRAM_IN, NAME_IN = 2.05, 1.0, 0.3
LETTER_IN = 0.069  # average width of a letter of LABEL_PT
TOP_IN = 1.3
TILE_PX, GAP_PX, NOTE_PX = 150, 6, 26  # side of a picture, gap, height of a score's line
CROP_PX = 224  # smallest side of a drawn crop
HEAD_PX = 10  # gap below the bar at the top of a column
WIDTH_PX, HEIGHT_PX = ACROSS * (TILE_PX + GAP_PX) - GAP_PX, ACROSS * (TILE_PX + NOTE_PX + GAP_PX) - GAP_PX  # of a column
RATIO = 0.93 * (HEIGHT_PX + HEAD_PX) / WIDTH_PX  # height of a column's pictures by its width, which has a margin

TITLES: dict[Group, str] = {group: group.replace("_", " ").capitalize() for group in GROUPS}
BY_MEDIAN = {"slightly_negative": "Slightly below the median", "slightly_positive": "Slightly above the median"}
MADE = ("Negative optimized", "Positive optimized")
COLORS: dict[Group, str] = dict(zip(GROUPS, (DIVERGING[0], DIVERGING[2], DIVERGING[6], DIVERGING[8]), strict=True))


@draw.register
def _(result: UnitSpectra) -> Figure:
    """Draws one band per unit: six columns of pictures, and a histogram of its scores below them.

    The columns are: optimised against the unit, minimum, slightly negative, slightly positive, maximum, optimised for it.
    """
    shown = result.units[:MAX_UNITS]
    made = any(one.optimized is not None for one in shown)
    columns, band_in = 4 + 2 * made, NAME_IN + COLUMN_IN * RATIO + HISTOGRAM_IN + 0.45
    more = some(len(shown), len(result), "units")
    title = f"The activation spectrum of {shown[0].unit}" if len(result) == 1 else f"Activation spectra{more}"
    about = _wrapped(f"below each picture {_about(result, shown)}", columns * COLUMN_IN)
    figure = canvas.page(columns * COLUMN_IN, band_in * len(shown), f"{title} · {result.model}", about)
    for band, axes in zip(shown, _bands(figure, len(shown), columns), strict=True):
        _spectrum(axes[:-1], axes[-1], band, result, made)
    return figure


@draw.register(SpectrumResult)
@draw.register(TopKResult)
def _(
    result: SpectrumResult | TopKResult, *, model: Any = None, source: Any = None, channels: int | Sequence[int] = 0
) -> Figure:
    """Draws units of a scan with their pictures, which are read again.

    `model` and `source` are those of the scan; `channels` is one channel or several.
    """
    if model is None or source is None:
        raise TapetumError("a scan keeps names, not pictures: give model= and source= as they were scanned")
    return draw(illustrated(model, source, result, channels))


def _bands(figure: Any, bands: int, columns: int) -> list[list[Any]]:
    """Returns the axes of each unit: one per column, and one below all of them."""
    grid = figure.add_gridspec(2 * bands, columns, height_ratios=[COLUMN_IN * RATIO + NAME_IN, HISTOGRAM_IN] * bands)
    return [
        [*(figure.add_subplot(grid[2 * band, i]) for i in range(columns)), figure.add_subplot(grid[2 * band + 1, :])]
        for band in range(bands)
    ]


def _spectrum(columns: Sequence[Any], below: Any, one: UnitSpectrum, result: UnitSpectra, made: bool) -> None:
    places = columns[1:-1] if made else columns
    if made:
        for axes, row in ((columns[0], 0), (columns[-1], 1)):
            _made(axes, one, row, result)
    for axes, group in zip(places, GROUPS, strict=True):
        words = BY_MEDIAN.get(group, TITLES[group]) if one.around == "median" else TITLES[group]
        _real(axes, one, group, words)
    if len(result) > 1:
        columns[0].text(0, 1.13, one.unit, transform=columns[0].transAxes, fontsize=LABEL_PT + 1, weight="bold",
                        color=LIGHT.ink, parse_math=False)  # fmt: skip
    _histogram(below, one, result)


def _about(result: OfDataSet, shown: Sequence[UnitSpectrum | UnitExamples]) -> str:
    """Describes, in words, a score's meaning, the number of pictures, and the part of them that the model saw."""
    where = {"output": "in the layer's output", "pre-activation": "before the activation function that ends the layer"}
    of = " or ".join(dict.fromkeys(where.get(one.tap, one.tap) for one in shown))
    skipped = f" ({len(result.skipped)} could not be used)" if result.skipped else ""
    return f"the unit's {_score(result)} {of} · {result.n} pictures of {result.source}{skipped} · {result.seen}"


def _wrapped(words: str, width_in: float | int) -> str:
    """Wraps a subtitle to at most two lines of this width; an ellipsis stands for the rest."""
    return "\n".join(textwrap.wrap(words, int(width_in / LETTER_IN), max_lines=2, placeholder=" …"))


def _score(result: OfDataSet) -> str:
    return "highest value over the places" if result.score == "max" else "mean over the places"


def _blank(axes: Any, words: str, color: str) -> None:
    """Prepares the axes of a column, in pixels: no ticks, no frame, and a heading over a bar of this colour."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_anchor("N")
    canvas.heading(axes, words)
    axes.spines["top"].set(visible=True, color=color, linewidth=2.5)
    axes.set(xlim=(0, WIDTH_PX), ylim=(HEIGHT_PX, -HEAD_PX), aspect="equal")


def _made(axes: Any, one: UnitSpectrum, row: int, result: OfDataSet) -> None:
    """Draws an optimised picture as large as a column of nine real ones; below it its value, the mean over the unit's map."""
    _blank(axes, MADE[row], LIGHT.muted)
    if one.optimized is None or one.optimized_scores is None:
        _words(axes, "none was made")
        return
    picture = tile(one.optimized, row)
    tall = min(HEIGHT_PX - NOTE_PX, WIDTH_PX * picture.shape[-2] / picture.shape[-1])
    _place(axes, picture, 0, 0, tall * picture.shape[-1] / picture.shape[-2], tall)
    mean = (-1) ** (row + 1) * float(one.optimized.scores[row])
    most = f" · highest {short_number(float(one.optimized_scores[row]))}" if result.score == "max" else ""
    status = one.optimized.status[row].replace("_", " ")
    _note(axes, 0, tall, f"mean {short_number(mean)}{most}" if status == "ok" else status)


def _real(axes: Any, one: UnitSpectrum, group: Group, title: str) -> None:
    """Draws a column of nine pictures, best first, each with its score."""
    examples = one.examples(group)
    _blank(axes, title, COLORS[group])
    if not len(examples):
        side = "below" if group == "slightly_negative" else "above"
        _words(axes, f"no picture has\na score {side} zero" if one.around == "zero" else "no picture")
        return
    for i, example in enumerate(examples.examples[: ACROSS**2]):
        left, top = (i % ACROSS) * (TILE_PX + GAP_PX), (i // ACROSS) * (TILE_PX + NOTE_PX + GAP_PX)
        _place(axes, examples.pixels[i], left, top, TILE_PX, TILE_PX)
        _note(axes, left, top + TILE_PX, short_number(example.score))


def _place(axes: Any, pixels: Tensor, left: float | int, top: float | int, width: float | int, height: float | int) -> None:
    levels = pixels.detach().float().cpu().clamp(0, 1).movedim(0, -1).numpy()
    axes.imshow(levels, extent=(left, left + width, top + height, top), interpolation="antialiased")


def _note(axes: Any, x: float | int, y: float | int, words: str) -> None:
    axes.text(x, y + 4, words, fontsize=NOTE_PT - 0.5, color=LIGHT.muted, va="top", parse_math=False)


def _words(axes: Any, words: str) -> None:
    axes.text(WIDTH_PX / 2, HEIGHT_PX / 3, words, fontsize=LABEL_PT, color=LIGHT.muted, ha="center", parse_math=False)


def _histogram(axes: Any, one: UnitSpectrum, result: OfDataSet) -> None:
    """Draws the histogram of the scores, the threshold as a line, and a tick for each example in its column's colour."""
    density = one.histogram.density.tolist()
    axes.stairs(density, one.histogram.edges.tolist(), fill=True, color=LIGHT.wash, edgecolor=LIGHT.accent, linewidth=0.8)
    top = max(density, default=1.0) or 1.0
    axes.axvline(one.threshold, color=LIGHT.ink, linewidth=0.9, linestyle=(0, (4, 2)))
    words = "zero" if one.around == "zero" else f"median {short_number(one.threshold)}, since no score is negative"
    axes.annotate(words, (one.threshold, 1.02), xycoords=("data", "axes fraction"), va="bottom", ha="center",
                  fontsize=NOTE_PT, color=LIGHT.ink, parse_math=False)  # fmt: skip
    for group in GROUPS:
        scores = [example.score for example in one.examples(group).examples]
        axes.vlines(scores, -0.14 * top, -0.02 * top, color=COLORS[group], linewidth=1.1)
    axes.set_ylim(-0.16 * top, 1.05 * top)
    canvas.plot(axes, f"score on a picture: the unit's {_score(result)}", "density")


@draw.register
def _(result: TopExamples) -> Figure:
    """Draws two rows per unit: crops around its strongest places, and the pictures from which they were cut, with frames."""
    shown = result.units[:MAX_UNITS]
    columns = max(1, min(MAX_TOPS, max(map(len, shown))))
    more = some(len(shown), len(result), "units")
    title = f"Where {shown[0].unit} answers most" if len(result) == 1 else f"Where units answer most{more}"
    wide = max(columns * TOP_IN, 5.2)
    about = _wrapped(f"below each crop {_about(result, shown)}", wide)
    figure = canvas.page(wide, len(shown) * 2 * (TOP_IN + 0.24), f"{title} · {result.model}", about)
    panels = canvas.panels(figure, 2 * len(shown), columns)
    for band, unit in enumerate(shown):
        heads = [unit.unit if len(result) > 1 else "", _crop_words(result, band)]
        for i, example in enumerate(unit.examples[:columns]):
            _top(panels[2 * band, i], panels[2 * band + 1, i], unit, i, example, heads if i == 0 else ["", ""])
    return figure


def _crop_words(result: TopExamples, band: int) -> str:
    """Describes, in words, the size of the crops and the receptive field."""
    side, field = result.crop_px[band], result.receptive_field[band]
    if side is None:
        return ""
    sees = "" if field is None else ", all that a place sees" if field <= side else f"; a place sees up to {field} px"
    return f"above: crops of {side} px{sees}"


def _top(above: Any, below: Any, unit: UnitExamples, row: int, example: Example, heads: Sequence[str]) -> None:
    from matplotlib.patches import Rectangle

    crop = unit.crop(row)
    if crop.shape[-1] < CROP_PX:  # enlarged, so that small crops stay legible
        crop = interpolate(crop[None], (CROP_PX, CROP_PX), mode="bilinear", align_corners=False)[0]
    name = example.id.rpartition("/")[2].rpartition(".")[0] or example.id
    name = name if len(name) <= 19 else f"…{name[-18:]}"  # the end of a name tells files apart
    for axes, pixels, head in ((above, crop, heads[0]), (below, unit.pixels[row], heads[1])):
        canvas.image(axes, pixels)
        axes.set_title(head, fontsize=NOTE_PT if axes is below else LABEL_PT, color=LIGHT.muted if axes is below else LIGHT.ink,
                       loc="left", parse_math=False, pad=4)  # fmt: skip
    style = {"color": LIGHT.muted, "loc": "left", "labelpad": 2, "parse_math": False}
    above.set_xlabel(short_number(example.score), fontsize=NOTE_PT, **style)
    below.set_xlabel(name, fontsize=NOTE_PT - 1, **style)
    if unit.boxes is not None:
        top, left, bottom, right = unit.boxes[row].tolist()
        for color, width in ((LIGHT.card, 2.4), (rgb(DIVERGING[8]), 1.2)):  # seen on dark and on light ground
            below.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, edgecolor=color,
                                      linewidth=width))  # fmt: skip


def short_number(value: float | int) -> str:
    """Formats a number with three digits, and a true minus sign."""
    text = f"{value:.3g}" if 1e-3 <= abs(value) < 1000 or value == 0 else f"{value:.1e}" if abs(value) < 1 else f"{value:.0f}"
    return text.replace("-", "\N{MINUS SIGN}")
