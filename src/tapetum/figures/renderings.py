"""Draws optimised pictures: the pictures on a sheet, their steps, or their objectives step by step."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, isnan
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.data.images import read_image
from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure
from tapetum.figures.tiles import across, evenly, is_mosaic, mosaic, shown_tiles, tile, unit_words
from tapetum.figures.words import some
from tapetum.types import PathCheck, Rendering, TapetumError

MAX_TILES = 64  # pictures in one figure; the title says when there are more
MAX_COLUMNS = 8
MAX_LINES = 8  # pictures whose steps or values one figure shows
TILE_IN = 1.75
GRID_IN = 6.4
NAME_CHARACTERS = 24  # that fit over a tile in LABEL_PT

LOSS = "relative feature loss", "of the best picture so far: 0 for the same activation"
"""Values that inversions log at each step."""

View: TypeAlias = Literal["pictures", "steps", "values"]


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture with its name above and its score below; `before` is the photograph it was made from."""

    pixels: Tensor
    name: str
    score: str
    before: Tensor | None = None


@draw.register
def _(result: Rendering, pixels: Any = None, view: View | None = None) -> Figure:
    """Draws pictures with their objectives and scores; with frames, their steps. A large `layout` becomes one picture.

    Args: `pixels` the photographs that the pictures were made from, shown before them; `view` "pictures", "steps" (one row per
    picture, one column per frame) or "values" (the objective at each step); by default steps where frames were kept.
    """
    chosen = view or ("steps" if result.frames is not None and pixels is None else "pictures")
    if chosen == "steps":
        return _steps(result)
    if chosen == "values":
        return _values(result)
    grid = mosaic(result) if is_mosaic(result) else None
    if grid is not None:
        return _grid(result, grid)
    columns = result.layout[1] if result.layout is not None and len(result) % result.layout[1] == 0 else None
    return _sheet(_tiles(result, pixels), _title(result), rendering_caption(result), columns)


def sheet_of_several(results: Sequence[Rendering], title: str, photos: Sequence[Tensor | None] = ()) -> Figure:
    """Draws the pictures of several results, of any sizes, on one page, each after its photo; a mosaic is one picture."""
    tiles: list[Tile] = []
    for result, photo in itertools.zip_longest(results, photos):
        grid = mosaic(result) if is_mosaic(result) else None
        if grid is not None:
            tiles.append(Tile(grid, f"{len(result)} pictures", "", photo))
        else:
            tiles += _tiles(result, photo)
    return _sheet(tiles, title, rendering_caption(results[0]))


def joined_alike(results: Sequence[Rendering]) -> Rendering:
    """Joins the results that have the first one's picture size and frame steps into one; others are left out."""
    first = results[0]
    alike = [one for one in results if one.pixels.shape[1:] == first.pixels.shape[1:] and one.frame_steps == first.frame_steps]
    return replace(
        first,
        pixels=torch.cat([one.pixels for one in alike]),
        scores=torch.cat([one.scores for one in alike]),
        objectives=tuple(text for one in alike for text in one.objectives),
        status=tuple(status for one in alike for status in one.status),
        values=None,
        frames=None if first.frames is None else torch.cat([one.frames for one in alike if one.frames is not None], 1),
        layout=None,
        numbers={},
        checks=tuple(check for one in alike for check in one.checks),
    )


def rendering_caption(result: Rendering, what: str = "score: the objective of the finished picture") -> str:
    """Caption of a rendering: picture size, number of steps, and the meaning of its numbers."""
    height, width = result.pixels.shape[-2:]
    steps = f"{result.steps[-1]} steps · " if result.steps else ""
    return f"{width} × {height} px · {steps}{what}".removesuffix(" · ")


def _title(result: Rendering) -> str:
    n = f"{MAX_TILES} of {len(result)}" if len(result) > MAX_TILES else len(result)
    made = unit_words(result.objectives[0]) if len(result) == 1 else f"{n} pictures"
    return f"{result.method or 'pictures'}: {made}"


def _tiles(result: Rendering, pixels: Any) -> list[Tile]:
    before = _photos(pixels, len(result))
    scores = [
        f"score {_number(float(score))}" if status == "ok" else status.replace("_", " ")
        for score, status in zip(result.scores, result.status, strict=True)
    ]
    if result.checks:
        scores = [f"{score}\n{check_words(check)}" for score, check in zip(scores, result.checks, strict=True)]
    return [
        Tile(tile(result, row), unit_words(result.objectives[row]), score, None if before is None else before[row])
        for row, score in enumerate(scores)
    ]


def check_words(check: PathCheck) -> str:
    """Writes the check of a picture in few words, for captions."""
    if isnan(check.share):
        return "not comparable with photographs"
    shares = f"{check.share:.0%} as in photographs ({check.lowest:.0%} to {check.highest:.0%})"
    return f"do not trust: {shares}" if check.flagged else shares


def _photos(pixels: Any, n: int) -> list[Tensor] | None:
    """Returns one photograph (3, h, w) per picture, from a batch, a single photograph, or a list."""
    if pixels is None:
        return None
    batch = isinstance(pixels, Tensor) and pixels.ndim == 4
    photos = list(pixels) if batch else [read_image(one)[0] for one in (pixels if isinstance(pixels, list) else [pixels])]
    if len(photos) not in (1, n):
        raise TapetumError(f"{n} pictures need one photograph or {n}, got {len(photos)}")
    return [shown_tiles(photo) for photo in photos] * (n if len(photos) == 1 else 1)


def _sheet(tiles: Sequence[Tile], title: str, subtitle: str, columns: int | None = None) -> Figure:
    """Draws tiles in rows; where they have photographs, as pairs of before and after."""
    tiles = tiles[:MAX_TILES]
    wide = 2 if tiles[0].before is not None else 1
    columns = columns or across(len(tiles), MAX_COLUMNS // wide)
    rows = ceil(len(tiles) / columns)
    ratio = max(one.pixels.shape[-2] / one.pixels.shape[-1] for one in tiles)
    lines = [textwrap.wrap(one.name, NAME_CHARACTERS * wide) for one in tiles]
    room_in = 0.36 + 0.15 * (min(2, max(map(len, lines))) + max(one.score.count("\n") for one in tiles))
    side_in = TILE_IN if len(tiles) > 4 else 1.5 * TILE_IN
    page = max(columns * wide * side_in, 4.6), rows * (side_in * ratio + room_in)
    figure = canvas.page(*page, title, subtitle)
    panels = canvas.panels(figure, rows, columns * wide)
    for i, one in enumerate(tiles):
        places = panels[i // columns, (i % columns) * wide : (i % columns + 1) * wide]
        if one.before is not None:
            canvas.image(places[0], one.before, "before")
        canvas.image(places[-1], one.pixels, _short(one.name, NAME_CHARACTERS), note=one.score)
    return figure


def _short(name: str, characters: int) -> str:
    """Wraps a name to at most two lines of this many characters; an ellipsis stands for the rest."""
    lines = textwrap.wrap(name, characters) or [""]
    return "\n".join(lines if len(lines) <= 2 else [lines[0], f"{lines[1][: characters - 1]}…"])


def _grid(result: Rendering, grid: Tensor) -> Figure:
    """Draws the whole layout as one picture; rows, or columns, whose pictures share an objective are labelled with it."""
    height, width = grid.shape[-2:]
    rows, columns = result.layout or (1, len(result))
    names = [[unit_words(result.objectives[row * columns + column]) for column in range(columns)] for row in range(rows)]
    by_row = all(len(set(row)) == 1 for row in names)
    broken = sum(status != "ok" for status in result.status)
    subtitle = f"{rows} × {columns} pictures of {' × '.join(map(str, result.pixels.shape[:1:-1]))} px"
    subtitle += f" · {broken} show nothing" if broken else ""
    figure = canvas.page(GRID_IN + by_row, GRID_IN * height / width, _title(result), subtitle)
    axes = figure.subplots()
    canvas.image(axes, grid)
    style = {"fontsize": NOTE_PT, "color": LIGHT.muted, "parse_math": False}
    if by_row:
        axes.set_yticks([(row + 0.5) * height / rows for row in range(rows)], [row[0] for row in names], **style)
    elif all(len(set(column)) == 1 for column in zip(*names, strict=True)):
        axes.set_xticks([(column + 0.5) * width / columns for column in range(columns)], names[0], **style)
    axes.tick_params(length=0)
    return figure


def _steps(result: Rendering) -> Figure:
    """Draws one row per picture and one column per frame: at most eight of each, with the last frame."""
    if result.frames is None:
        raise TapetumError("no frames were kept: make the pictures with frames=8, or draw view='pictures'")
    chosen = evenly(len(result.frames), MAX_COLUMNS)
    rows = min(len(result), MAX_LINES)
    ratio = result.pixels.shape[-2] / result.pixels.shape[-1]
    page = max(len(chosen) * 1.35 + 0.3, 4.6), rows * (1.35 * ratio + 0.12) + 0.25
    title = f"{result.method or 'pictures'}, step by step{some(rows, len(result), 'pictures')}"
    figure = canvas.page(*page, title, rendering_caption(result, ""))
    panels = figure.subplots(rows, len(chosen), squeeze=False)
    for row in range(rows):
        for axes, frame in zip(panels[row], chosen, strict=True):
            canvas.image(axes, tile(result, row, frame), step_words(result, frame) if row == 0 else "")
        canvas.side(panels[row, 0], _short(unit_words(result.objectives[row]), 22))
    return figure


def step_words(result: Rendering, frame: int) -> str:
    """Label of a frame, such as "step 16", or "frame 3" where the steps of frames were not noted."""
    return f"step {result.frame_steps[frame]}" if frame < len(result.frame_steps) else f"frame {frame + 1}"


def _values(result: Rendering) -> Figure:
    """Draws the objective at each step, one line per picture with its name at the end."""
    if result.values is None or len(result.values) == 0:
        raise TapetumError("no values were noted on the way to these pictures")
    n = min(len(result), MAX_LINES)
    word, of = LOSS if "feature_loss" in result.numbers else ("objective", "of the pictures as the transforms showed them")
    subtitle = rendering_caption(result, of)
    figure = canvas.page(6.4, 3.4, f"{result.method or 'pictures'}: the {word}{some(n, len(result), 'pictures')}", subtitle)
    axes = figure.subplots()
    values = result.values[:, :n].detach().float().cpu().numpy()
    for row in range(n):
        axes.plot(result.steps, values[:, row], color=LIGHT.accent, linewidth=1.5, alpha=1 - 0.6 * row / n)
    finite = [row for row in range(n) if values[-1, row] == values[-1, row]]
    low, high = axes.get_ylim()
    heights = moved_apart([float(values[-1, row]) for row in finite], (high - low) / 16)
    for row, height in zip(finite, heights, strict=True):
        words = _short(unit_words(result.objectives[row]), 30).partition("\n")[0]
        place = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "annotation_clip": False}
        axes.annotate(words, (result.steps[-1], height), color=LIGHT.ink, fontsize=NOTE_PT, parse_math=False, **place)
    axes.margins(x=0)
    canvas.plot(axes, "step", word)
    return figure


def moved_apart(heights: Sequence[float], apart: float) -> list[float]:
    """Returns the heights of labels, moved up where two would be closer than `apart`."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = list(heights)
    for below, above in itertools.pairwise(order):
        placed[above] = max(placed[above], placed[below] + apart)
    return placed


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
