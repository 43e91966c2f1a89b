"""`draw(result)`: the figure of a result, chosen by its type. matplotlib is imported when the first figure is drawn."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from functools import singledispatch
from html import escape
from math import ceil
from textwrap import wrap
from typing import Any

from torch import Tensor

from tapetum.figures import canvas, films, several
from tapetum.figures.overlay import SCALE, channel_picture, colorize, laid, limit, overlay, with_words
from tapetum.figures.theme import Figure
from tapetum.figures.words import SHORT_UNITS, WORDS, caption, grid, some
from tapetum.notes import is_caution
from tapetum.types import ActivationMaps, Attribution, Number, Prediction, Result, Run, TapetumError, names_of_maps

MAX_ROWS = 8  # images in one figure; the title says when there are more
SIDE_IN = 2.6  # inches of one panel
FEW_CHANNELS = 24  # if a layer has more, they are drawn smaller


@singledispatch
def draw(result: Any, **options: Any) -> Figure:
    """Returns the figure of a result, drawn by the function that is registered for its type.

    Args: for attributions, `pixels` (n, 3, h, w) in [0, 1], the photo under the maps.
    """
    kinds = ", ".join(kind.__name__ for kind in draw.registry if kind is not object)
    raise TypeError(f"cannot draw {type(result).__name__}; what can be drawn: {kinds}")


@draw.register
def page_of_words(result: Result) -> Figure:
    """Returns a page with the words of a result that has no picture of its own."""
    return canvas.written(type(result).__name__, str(result).splitlines())


def has_figure(result: Any) -> bool:
    """Returns whether a result is drawn as something other than its words."""
    inner = result.value if isinstance(result, Run) else result
    return not isinstance(inner, (list, tuple)) and draw.dispatch(type(inner)) not in (page_of_words, draw.dispatch(object))


def html(result: Any) -> str:
    """Returns a result's figure as an HTML element; its words where it has no figure, or one that needs further options."""
    try:
        figure: Any = show(result) if has_figure(result) else None
    except TapetumError:
        figure = None
    if figure is None:
        return f"<pre>{escape(str(result))}</pre>"
    data, size = figure._repr_png_()
    source = f"data:image/png;base64,{b64encode(data).decode()}"
    return f'<img src="{source}" width="{size["width"]}" alt="{escape(figure.title)}">'


def png(result: Any, *, dpi: int = 150, **options: Any) -> bytes:
    """Returns the figure of a result as a PNG file."""
    from tapetum.figures.page import figure_png

    return figure_png(show(result, **options), dpi)


def show(result: Any, **options: Any) -> Figure:
    """Returns the figure of a result with its notes below; notebooks display it.

    Elsewhere, `show(result).savefig("map.png")` writes it to a file.
    """
    figure, notes = draw(result, **options), notes_of(result)
    if notes:
        canvas.footnotes(figure, notes)
    return figure


def notes_of(result: Any) -> tuple[str, ...]:
    """Notes of a result, or of a list of results, each sentence once; cautions first."""
    parts = result if isinstance(result, (list, tuple)) else [result.value if isinstance(result, Run) else result]
    notes = dict.fromkeys(note for part in parts for note in getattr(part, "notes", ()))
    return tuple(sorted(notes, key=is_caution, reverse=True))


@draw.register
def _(result: Run, **options: Any) -> Figure:
    known = draw.dispatch(type(result.value)) is not draw.dispatch(object)
    return draw(result.value, **options) if known else page_of_words(result)


@draw.register
def _(result: Attribution, pixels: Tensor | None = None) -> Figure:
    """Draws one row per image: the photo, the map with its scale, and the map over the photo; without `pixels` only the map."""
    if result.frames is not None:
        return films.slices(result)
    rows, photos = min(len(result), MAX_ROWS), _photos(pixels, result)
    columns = 1 if photos is None else 3
    title = f"{result.method}: {result.target[0]}" if len(result) == 1 else f"{result.method}{some(rows, len(result))}"
    figure = canvas.page(max(columns * SIDE_IN + 0.9, 4.2), rows * SIDE_IN, title, caption(result))
    panels = figure.subplots(rows, columns, squeeze=False)
    for row, axes in enumerate(panels):
        _map_panel(axes[0 if photos is None else 1], result, row, None if photos is None else photos[row])
        if photos is not None:
            canvas.image(axes[0], photos[row], "photograph")
            canvas.image(axes[2], _over(result, photos, row), "map over the photograph")
        if len(result) > 1:
            canvas.side(axes[0], result.target[row])
    return figure


@draw.register
def _(result: ActivationMaps) -> Figure:
    """Draws one row per image and one panel per channel, each on its own scale."""
    n, k = len(result.values), result.values.shape[1]
    columns = min(k, 6 if k <= FEW_CHANNELS else 8)
    shown = min(n, max(1, MAX_ROWS // ceil(k / columns)))
    rows = shown * ceil(k / columns)
    title = f"What {result.layer} found{some(shown, n)}"
    subtitle = f"{grid(result.values.shape)} values per channel · chosen by {result.by} · each channel on its own scale"
    side = 1.6 if k <= FEW_CHANNELS else 1.2
    figure = canvas.page(max(columns * side, 5.2), rows * (side + 0.3), title, subtitle)
    panels = canvas.panels(figure, rows, columns)
    for row in range(shown):
        for i in range(k):
            axes = panels[row * ceil(k / columns) + i // columns, i % columns]
            canvas.image(axes, channel_picture(result, row, i), f"channel {int(result.channels[row, i])}", smooth=False)
    return figure


@draw.register(list)
@draw.register(tuple)
def _(results: Sequence[Any], pixels: Tensor | None = None, names: Sequence[str] | None = None) -> Figure:
    """Draws a list: attributions side by side, maps of several layers, or predictions of several images.

    Attributions are named by `names`, or by what differs between them; predictions are beside their photos.
    """
    if results and all(isinstance(one, Attribution) for one in results):
        return _side_by_side(results, pixels, names)
    if results and all(isinstance(one, ActivationMaps) for one in results):
        return draw(results[0]) if len(results) == 1 else several.by_depth(results)
    if results and all(
        isinstance(one, list) and all(isinstance(part, (Prediction, Number)) for part in one) for one in results
    ):
        return several.answers(results, pixels)
    kinds = ", ".join(sorted({type(result).__name__ for result in results})) or "nothing"
    raise TypeError(f"a list can be drawn if it holds Attributions, ActivationMaps or predictions; this one holds {kinds}")


def _side_by_side(results: Sequence[Attribution], pixels: Tensor | None, names: Sequence[str] | None) -> Figure:
    """Draws one column per attribution and one row per image."""
    called = names_of_maps(results) if names is None else names
    if len(called) != len(results):
        raise TapetumError(f"{len(results)} maps were given and {len(called)} names: one name per map")
    n, bands = min(len(r) for r in results), ceil(len(results) / 5)
    across = ceil(len(results) / bands)
    rows = min(n, MAX_ROWS)
    one_target = n == 1 and len({one.target for one in results}) == 1
    title = f"{len(results)} maps: {results[0].target[0]}" if one_target else f"{len(results)} maps{some(rows, n)}"
    figure = canvas.page(max(across * 2.0, 5.2), rows * bands * 2.3, title, f"each map on its own scale, {SCALE}")
    panels = canvas.panels(figure, rows * bands, across)
    names_in_lines = ["\n".join(part for line in name.split("\n") for part in wrap(line, 26)) for name in called]
    for i, result in enumerate(results):
        photos = _photos(pixels, result)
        for row in range(rows):
            axes = panels[(i // across) * rows + row, i % across]
            canvas.image(axes, _over(result, photos, row), names_in_lines[i] if row == 0 else "")
    return figure


def _map_panel(axes: Any, result: Attribution, row: int, photo: Tensor | None) -> None:
    if result.status[row] != "ok":
        canvas.image(axes, _over(result, None, row), "map")
        return
    heatmap = result.heatmap()[row] if photo is None else laid(result, photo, row)
    canvas.image(axes, colorize(heatmap, result.reduce), "map")
    canvas.colorbar(axes, result.reduce, limit(heatmap), f"{SHORT_UNITS[result.reduce]}\n{SCALE}")


def _over(result: Attribution, photos: Tensor | None, row: int) -> Tensor:
    """Returns the map over its photo, or alone without a photo; for a map that is not `ok`, the reason in words."""
    if result.status[row] != "ok":
        ground = result.values.new_full((3, *result.size), 0.5) if photos is None else photos[row]
        return with_words(ground, WORDS[result.status[row]])
    heatmap = result.heatmap()[row] if photos is None else laid(result, photos[row], row)
    return colorize(heatmap, result.reduce) if photos is None else overlay(photos[row], heatmap, result.reduce)


def _photos(pixels: Tensor | None, result: Attribution) -> Tensor | None:
    """Returns one photo per image, (n, 3, h, w); a single photo may be given as (3, h, w)."""
    if pixels is None:
        return None
    photos = pixels[None] if pixels.ndim == 3 else pixels
    if len(photos) != len(result):
        raise TapetumError(f"{len(result)} maps need {len(result)} photos, got {len(photos)}")
    return photos
