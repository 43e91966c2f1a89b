"""Describes layouts of layer outputs by axis labels, and converts between a layer's tensor and a map (n, c, h, w)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby
from math import ceil, floor, prod
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.types import LayerError

Layout: TypeAlias = Literal["nchw", "nhwc", "tokens", "none"]

Margins: TypeAlias = tuple[Fraction, Fraction, Fraction, Fraction]
"""(top, bottom, left, right), in input pixels."""
NO_MARGINS: Margins = Fraction(0), Fraction(0), Fraction(0), Fraction(0)

MAX_PREFIX = 16  # class and register tokens; the most in use are 1 + 8


@dataclass(frozen=True)
class LayerMap:
    """Description of how a layer's output holds a map.

    layout   "nchw", "nhwc", "tokens" (n, t, c), or "none": the output has no places
    prefix   class and register tokens ahead of the patches, 0 unless the layout is "tokens"
    grid     (h, w) of the map at the surveyed input size, None without a map
    stride   (h, w) input pixels from one cell to the next
    """

    name: str
    layout: Layout
    prefix: int = 0
    grid: tuple[int, int] | None = None
    channels: int | None = None
    stride: tuple[Fraction, Fraction] | None = None


def to_map(layer: LayerMap, tensor: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Converts a layer's output for images of any size to (n, c, h, w); differentiable, and a view where strides allow."""
    dims = {"nchw": 4, "nhwc": 4, "tokens": 3}.get(layer.layout)
    if dims is None:
        raise LayerError(f"{layer.name} gives no map: its output has no places")
    if tensor.ndim != dims:
        raise LayerError(f"{layer.name} gave shape {tuple(tensor.shape)}, not {dims} axes as surveyed ({layer.layout})")
    if layer.layout == "tokens":
        h, w = _token_grid(layer, tensor.shape[1] - layer.prefix, image_size)
        return tensor[:, layer.prefix :].unflatten(1, (h, w)).permute(0, 3, 1, 2)
    return tensor.permute(0, 3, 1, 2) if layer.layout == "nhwc" else tensor


def from_map(layer: LayerMap, values: Tensor, original: Tensor) -> Tensor:
    """Inverts `to_map`: converts a map (n, c, h, w) to the layer's own layout, with the prefix tokens of `original`."""
    if layer.layout == "none":
        raise LayerError(f"{layer.name} gives no map: its output has no places")
    if layer.layout == "nhwc":
        return values.permute(0, 2, 3, 1)
    if layer.layout == "tokens":
        return torch.cat([original[:, : layer.prefix], values.permute(0, 2, 3, 1).flatten(1, 2)], 1)
    return values


def _token_grid(layer: LayerMap, count: int, image_size: tuple[int, int]) -> tuple[int, int]:
    """Returns the grid (h, w) of `count` patch tokens: image size / stride, each side rounded down or up."""
    assert layer.stride is not None  # tokens that hold a map have a stride
    (h, w), (down, right) = image_size, layer.stride
    for rows in (floor(h / down), ceil(h / down)):
        for columns in (floor(w / right), ceil(w / right)):
            if rows * columns == count:
                return rows, columns
    raise LayerError(
        f"{layer.name} gave {count} patch tokens; an image of {h} x {w} at stride {float(down):g} x {float(right):g} "
        f"has {floor(h / down)} x {floor(w / right)}"
    )


@dataclass(frozen=True)
class Atom:
    """Factor of a tensor axis: `size` places along the image axis `label`, `step` apart.

    Splitting an axis h of 56 into windows of 7 gives h(8, step 7) and h(7, step 1); joined again they are h(56).
    Labels: h, w, c; t = prefix tokens followed by the places of `grid`; ? = anything else. Axes of size 1 have no atom.
    `insets`: for concatenated channels, (number of channels, margins by which their field is smaller than the union of all).
    """

    label: str
    size: int
    step: int = 1
    prefix: int = 0
    grid: tuple[int, int] = (0, 0)
    insets: tuple[tuple[int, Margins], ...] = ()


Axis: TypeAlias = tuple[Atom, ...]
Axes: TypeAlias = tuple[Axis, ...]


def axis(label: str, size: int) -> Axis:
    """Makes an unsplit axis of one label; an axis of size 1 has no atom."""
    return (Atom(label, size),) if size > 1 else ()


def labels(part: Axis) -> set[str]:
    """Returns the labels in an axis; tokens with a prefix (t) count as h and w."""
    return set("".join(atom.label for atom in part).replace("t", "hw"))


def is_spatial(part: Axis) -> bool:
    return bool(labels(part) & {"h", "w"})


def merged(atoms: Sequence[Atom]) -> Axis:
    """Joins neighbouring factors of an axis where one step of the outer is exactly the length of the inner."""
    joined: list[Atom] = []
    for atom in atoms:
        last = joined[-1] if joined else None
        if last and last.label == atom.label and atom.label in "hwc" and last.step == atom.size * atom.step:
            joined[-1] = Atom(atom.label, last.size * atom.size, atom.step)
        else:
            joined.append(atom)
    return tuple(joined)


def view_axes(axes: Axes, viewed: Tensor) -> Axes:
    """Returns the axis labels of a view of a contiguous tensor labelled `axes`, from the view's sizes and strides."""
    units, unit = [], 1
    for atom in reversed([atom for part in axes for atom in part]):
        units.append((atom, unit))
        unit *= atom.size
    offset = int(viewed.storage_offset())
    return tuple(_read_axis(size, stride, offset, units) for size, stride in zip(viewed.shape, viewed.stride(), strict=True))


def view_start(axes: Axes, offset: int, label: str) -> int:
    """Returns how many places along `label` are skipped by a view's storage offset."""
    start, unit = 0, 1
    for atom in reversed([atom for part in axes for atom in part]):
        if atom.label == label:
            start += offset // unit % atom.size * atom.step
        unit *= atom.size
    return start


def _read_axis(size: int, stride: int, offset: int, units: Sequence[tuple[Atom, int]]) -> Axis:
    """Returns the atoms, outermost first, of a view's axis with `size` and `stride`; an unknown axis where they do not fit.

    units: the atoms of the viewed tensor, innermost first, each with its stride in elements.
    """
    unknown, parts = axis("?", size), []
    while size > 1:
        found = next(((atom, unit) for atom, unit in units if unit <= stride < unit * atom.size), None)
        if found is None or stride % found[1]:
            return unknown
        atom, unit = found
        every, start = stride // unit, offset // unit % atom.size
        take = min(size, ceil((atom.size - start) / every))
        if take < size and (start or size % take or atom.size % every):
            return unknown
        if atom.label == "t":
            parts[:0] = _token_piece(atom, take, every, start)
        elif take > 1:
            parts.insert(0, replace(atom, size=take, step=atom.step * every, insets=()))
        size, stride = size // take, unit * atom.size
    return merged(parts)


def cut_channels(before: Axes, after: Axes, offset: int) -> tuple[Axes, Margins]:
    """Returns the axes of a view of concatenated channels with the insets of its own channels, and the margins of them all.

    The margins are by how much the union of the view's fields is smaller than the union of all channels' fields.
    """
    joined = [atom for part in before for atom in part if "c" in atom.label]
    pieces = [(place, atom) for place, part in enumerate(after) for atom in part if "c" in atom.label]
    if len(joined) != 1 or len(pieces) != 1 or not joined[0].insets or pieces[0][1].step != joined[0].step:
        return after, NO_MARGINS
    (place, piece), first = pieces[0], view_start(before, offset, "c") // joined[0].step
    each = [margins for count, margins in joined[0].insets for _ in range(count)][first : first + piece.size]
    least = min_margins(each)
    runs = ((margins, len(list(run))) for margins, run in groupby(each))
    rest = tuple((count, less(margins, least)) for margins, count in runs) if set(each) != {least} else ()
    return tuple((replace(piece, insets=rest),) if i == place else part for i, part in enumerate(after)), least


def without_insets(axes: Axes) -> Axes:
    """Removes all insets, where an operation mixes channels: from there on each channel sees what all see."""
    return tuple(tuple(replace(atom, insets=()) for atom in part) for part in axes)


def min_margins(many: Sequence[Margins]) -> Margins:
    """Returns the smallest of the margins, for each side."""
    top, bottom, left, right = (min(side) for side in zip(*many, strict=True))
    return top, bottom, left, right


def more(margins: Margins, added: Margins) -> Margins:
    """Adds two margins, separately for each side."""
    top, bottom, left, right = (a + b for a, b in zip(margins, added, strict=True))
    return top, bottom, left, right


def less(margins: Margins, least: Margins) -> Margins:
    """Subtracts `least` from `margins`, separately for each side."""
    top, bottom, left, right = (a - b for a, b in zip(margins, least, strict=True))
    return top, bottom, left, right


def _token_piece(atom: Atom, size: int, every: int, start: int) -> Axis:
    """Returns the axis of a slice of prefixed tokens: tokens with the rest of the prefix, places alone (h, w), or unknown."""
    if every > 1 or start + size < atom.size or start > atom.prefix:
        return axis("?", size)
    if start == atom.prefix:
        return axis("h", atom.grid[0]) + axis("w", atom.grid[1])
    return (replace(atom, size=size, prefix=atom.prefix - start),)


def role(part: Axis) -> str:
    """Role of an axis: "h", "w", "c", "t" (places, row by row), "" (size 1) or "?" (unknown)."""
    names = "".join(atom.label for atom in part)
    if names in ("", "h", "w", "t"):
        return names
    if names == "hw":
        return "t"
    return "c" if "c" in names and set(names) <= set("chw") else "?"


def read_layout(axes: Axes | None) -> tuple[Layout, int, tuple[int, int] | None]:
    """Returns (layout, prefix, grid), as in `LayerMap`, of an output with labelled axes; ("none", 0, None) without a map."""
    if axes is None:
        return "none", 0, None
    roles = tuple(role(part) for part in axes)
    if len(roles) == 3 and roles[0] == "" and roles[1] == "t" and roles[2] in ("c", ""):
        first = axes[1][0]
        grid = first.grid if first.label == "t" else (axes[1][0].size, axes[1][1].size)
        return "tokens", first.prefix, grid
    for layout in ("nchw", "nhwc"):
        if len(roles) == 4 and all(found in ("", wanted) for found, wanted in zip(roles, layout, strict=True)):
            h, w = axes[layout.index("h")], axes[layout.index("w")]
            return layout, 0, (prod(atom.size for atom in h), prod(atom.size for atom in w))
    return "none", 0, None


def guess_axes(shape: Sequence[int], grid: tuple[int, int] | None) -> Axes | None:
    """Guesses axis labels from the output's shape for one image, where operations could not be followed; None if unclear.

    Recognised are square maps, and tokens for the cells of `grid` with a prefix of at most 16.
    """
    if shape and shape[0] != 1:
        return None
    if len(shape) == 4 and shape[2] == shape[3]:
        return (), axis("c", shape[1]), axis("h", shape[2]), axis("w", shape[3])
    if len(shape) == 4 and shape[1] == shape[2]:
        return (), axis("h", shape[1]), axis("w", shape[2]), axis("c", shape[3])
    if len(shape) == 3 and grid and prod(grid) > 1 and 0 <= shape[1] - prod(grid) <= MAX_PREFIX:
        return (), token_axis(shape[1] - prod(grid), grid), axis("c", shape[2])
    return None


def token_axis(prefix: int, grid: tuple[int, int]) -> Axis:
    """Makes the axis of `prefix` tokens followed by the places of `grid`, row by row."""
    if not prefix:
        return axis("h", grid[0]) + axis("w", grid[1])
    return (Atom("t", prefix + prod(grid), prefix=prefix, grid=grid),)
