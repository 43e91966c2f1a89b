"""Draws filters: hand-made ones at work, a layer's weights, its responses to photographs, random and learned weights."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Any

import torch
from torch import Tensor

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.overlay import colorize, limit, overlay, signs
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure
from tapetum.figures.tiles import collage
from tapetum.figures.words import some
from tapetum.types import FilterComparison, FilteredPicture, FilterResponses, Filters, ToySelectivity
from tapetum.types.filters import shown_pair

TILE_PX = 48  # smallest side of a filter in a figure
MAX_IMAGES = 3
ACROSS = 9  # filters in one row


@draw.register
def _(result: ToySelectivity) -> Figure:
    """Draws one row per image: the image, then each filter's response; above, the filters with their weights."""
    m, k = len(result.images), len(result.kernels)
    top = f"{result.top:g}"
    says = f"what it answers, -{top} (blue, the opposite) to {top} (red, a perfect fit), white: 0 · zeros around the image"
    figure = canvas.page(1.9 * (k + 1) + 0.5, 1.3 + 2.15 * m, "A filter answers where the image has its pattern", says)
    grid = figure.add_gridspec(m + 1, k + 1, height_ratios=[1.25, *[2] * m])
    for i, (kernel, name) in enumerate(zip(result.kernels, result.kernel_names, strict=True)):
        axes = figure.add_subplot(grid[0, i + 1])
        canvas.image(axes, colorize(kernel, "sum", result.top), f"{name} filter", smooth=False)
        canvas.numbers(axes, kernel)
        axes.set_anchor("C")
    for row, (image, name) in enumerate(zip(result.images, result.image_names, strict=True)):
        axes = figure.add_subplot(grid[row + 1, 0])
        h, w = image.shape
        canvas.image(axes, image.expand(3, h, w), f"{name}, {h} × {w}", smooth=False)
        for i, response in enumerate(result.responses[row]):
            axes = figure.add_subplot(grid[row + 1, i + 1])
            said = f"{float(response.min()):g} to {float(response.max()):g}"
            canvas.image(axes, colorize(response, "sum", result.top), said, smooth=False)
    return figure


@draw.register
def _(result: FilteredPicture) -> Figure:
    """Draws the photograph and each kernel's response: signed maps in two colours, filtered pictures as pictures."""
    height, width = result.picture.shape[-2:]
    n = len(result.names) + 1
    columns = min(n, 3)
    rows = ceil(n / columns)
    side, title = 2.9, f"Filters on a photograph of {height} × {width} px"
    border = {"reflect": "mirrored", "replicate": "repeated", "zero": "filled with zeros"}[result.border]
    says = f"red: positive, blue: negative, white: 0, each map on its own scale · the border is {border}"
    figure = canvas.page(max(columns * side, 5.8), rows * (side * height / width + 0.3), title, says)
    panels = canvas.panels(figure, rows, columns).ravel()
    canvas.image(panels[0], result.picture[0], "photograph")
    for axes, name, kernel, response in zip(panels[1:], result.names, result.kernels, result.responses, strict=False):
        size = f"{kernel.shape[-2]} × {kernel.shape[-1]}"
        values = f"{float(response.min()):.2f} to {float(response.max()):.2f}"
        shown = response if len(response) == 3 else colorize(response[0], signs(response))
        canvas.image(axes, shown, f"{name}, {size}: {values}")
    return figure


@draw.register
def _(result: Filters) -> Figure:
    """Draws all filters on one scale in rows; 1 x 1 filters become the rows of a matrix."""
    k, inputs = result.weights.shape[:2]
    many = "all" if k == result.channels else f"the first {k} of"
    title = f"{result.layer} of {result.model}: {many} {result.channels} filters"
    if result.size == (1, 1):
        return _matrix(result, title)
    values = shown_weights(result)
    top, (h, w) = limit(values), result.size
    tiles = [enlarged(one) for one in painted(values, top)]
    columns = ceil(sqrt(k))
    rows = ceil(k / columns)
    aspect = tiles[0].shape[-2] / tiles[0].shape[-1]
    says = [f"{h} × {w} weights for each of {_inputs(result)} · stride {shown_pair(result.stride)} · one scale: ±{top:.2g}",
            _meaning(result)]  # fmt: skip
    figure = canvas.page(7.0, 5.6 * min(rows / columns * aspect, 2.0), title, "\n".join(says))
    axes = figure.subplots()
    canvas.image(axes, collage(tiles, columns), smooth=False)
    if not result.colors:
        canvas.colorbar(axes, "sum", top, "weight" if inputs == 1 else "mean weight")
    return figure


def _matrix(result: Filters, title: str) -> Figure:
    """Draws the matrix of 1 x 1 filters: one row per filter, one column per input channel."""
    values = result.weights[:, :, 0, 0]
    says = "1 × 1: no pattern in space, a filter is a list of weights, one for each channel it reads\none row per filter"
    says += f", one column for each of {_inputs(result)}"
    figure = canvas.page(7.2, max(2.2, min(6.5, 6.2 * values.shape[0] / values.shape[1])), title, says)
    axes = figure.subplots()
    canvas.image(axes, colorize(values, "sum", limit(values)), smooth=False)
    axes.set_aspect("auto")
    canvas.colorbar(axes, "sum", limit(values), "weight")
    return figure


def _inputs(result: Filters) -> str:
    if result.colors:
        return "red, green and blue"
    inputs = result.weights.shape[1]
    channels = "1 channel" if inputs == 1 else f"{inputs} channels"
    return channels if result.groups == 1 else f"{channels} of its own ({result.groups} groups)"


def _meaning(result: Filters) -> str:
    if result.colors:
        return "the inputs are colours, so a filter is a small picture: mid grey is 0, bright is positive, dark negative"
    if result.weights.shape[1] == 1:
        return "each filter reads one channel, which is no colour: red is positive, blue negative"
    return "only the first layer reads colours: these are means over the channels read, red is positive"


@draw.register
def _(result: FilterResponses) -> Figure:
    """Draws two rows per photograph and one column per filter: its map, and its map over the photograph; weights above."""
    n, k = min(len(result.photographs), MAX_IMAGES), len(result.channels)
    shown_k = min(k, 2 * ACROSS)
    bands, across = ceil(shown_k / ACROSS), min(shown_k, ACROSS)
    h, w = result.maps.shape[-2:]
    height, width = result.photographs.shape[-2:]
    left_out = some(n, len(result)) + some(shown_k, k, "filters")
    title = f"{result.filters.layer} of {result.filters.model}: filter, map, overlay{left_out}"
    says = (
        f"maps of {h} × {w}, one cell every {result.strides[0]:g} px, over the {height} × {width} px that the model saw\n"
        "red: the pattern is there, blue: its opposite; each filter on its own scale, before what follows the convolution"
    )
    rows = bands * (1 + 2 * n)
    figure = canvas.page(max(1.28 * (across + 1), 7.4), rows * 1.42, title, says)
    panels = canvas.panels(figure, rows, across + 1)
    heats = result.heatmaps()
    values = shown_weights(result.filters)
    pictures = painted(values, limit(values))
    for i in range(shown_k):
        band, column = divmod(i, ACROSS)
        first = band * (1 + 2 * n)
        top = limit(result.maps[:n, i])
        canvas.image(panels[first, column + 1], pictures[i], f"filter {int(result.channels[i])}", smooth=False)
        for row in range(n):
            photo = result.photographs[row]
            answer, over = panels[first + 1 + 2 * row, column + 1], panels[first + 2 + 2 * row, column + 1]
            canvas.image(answer, colorize(result.maps[row, i], "sum", top), f"±{top:.2g}", smooth=False)
            canvas.image(over, overlay(photo, heats[row, i].to(photo.dtype), "sum", top=top))
            if column == 0:
                canvas.image(panels[first + 1 + 2 * row, 0], photo, "what it saw")
    return figure


@draw.register
def _(result: FilterComparison) -> Figure:
    """Draws random and learned filters side by side, each divided by its norm; below, histograms of their smoothness."""
    happened = "before and after learning" if result.trained else "random and random, nothing is learned yet"
    title = f"{result.learned.layer} of {result.learned.model}: {happened}"
    kind = "mid grey: 0" if result.learned.colors else "white: 0, red: positive, mean over the inputs"
    says = "each filter divided by its length, one scale for both sides; " + kind
    says += "\nbelow: the share of slow changes in each filter; random weights are noise, which has the same share at any size"
    figure = canvas.page(8.0, 6.6, title, says)
    grid = figure.add_gridspec(2, 2, height_ratios=[3, 1.5])
    sides = [_unit(result.random), _unit(result.learned)]
    top = limit(torch.cat([values.flatten() for values in sides]))
    for column, (values, name) in enumerate(zip(sides, result.names, strict=True)):
        axes = figure.add_subplot(grid[0, column])
        low = (result.low_random, result.low_learned)[column]
        tiles = [enlarged(one) for one in painted(values, top)]
        mean = f"{float(low.nanmean()):.2f}"
        canvas.image(axes, collage(tiles, ceil(sqrt(len(tiles)))), f"{name}: mean share of slow changes {mean}", smooth=False)
        axes.set_anchor("C")
    _shares(figure.add_subplot(grid[1, :]), result)
    return figure


def _shares(axes: Any, result: FilterComparison) -> None:
    """Draws histograms of all filters' shares of low-frequency energy; a line marks the share for white noise."""
    lows, colors = (result.low_random, result.low_learned), (LIGHT.muted, LIGHT.accent)
    for low, color, name in zip(lows, colors, result.names, strict=True):
        axes.hist(low[~low.isnan()].cpu().numpy(), bins=25, range=(0, 1), color=color, alpha=0.55, label=name)
    axes.axvline(result.expected, color=LIGHT.ink, linewidth=1, linestyle="--", label=f"noise: {result.expected:.2f}")
    axes.set_xlim(0, 1)
    axes.legend(frameon=False, fontsize=NOTE_PT)
    canvas.plot(axes, f"share of energy below {result.cutoff:g} cycles per cell", "filters")


def _unit(result: Filters) -> Tensor:
    """Returns the weights to draw, each filter divided by its norm; zero for dead filters, which would show noise."""
    values = shown_weights(result)
    alive = result.alive[: len(values)].cpu()
    length = result.norms[: len(values)].float().cpu().where(alive, torch.tensor(torch.inf))
    return values / length.view(-1, *[1] * (values.ndim - 1))


def shown_weights(result: Filters) -> Tensor:
    """Returns the weights to draw: (k, 3, h, w) where filters read colours, else the mean over their inputs (k, h, w)."""
    weights = result.weights.detach().float().cpu()
    return weights if result.colors else weights.mean(1)


def painted(values: Tensor, top: float) -> list[Tensor]:
    """Converts filters to colours (3, h, w) each: RGB with mid grey for 0, or the two colours of signed maps."""
    if values.ndim == 4:
        return list((0.5 + 0.5 * values / top).clamp(0, 1))
    return [colorize(one, "sum", top) for one in values]


def enlarged(tile: Tensor) -> Tensor:
    """Enlarges every cell of a filter to a square of pixels, so that the filter is at least `TILE_PX` wide."""
    times = max(1, ceil(TILE_PX / min(tile.shape[-2:])))
    return tile.repeat_interleave(times, -2).repeat_interleave(times, -1)
