"""Layouts of layer outputs: axis labels, and conversion between a layer's tensor and a map (n, c, h, w)."""

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

MAX_PREFIX = 16  # class and register tokens; the largest family in use has 1 + 8


@dataclass(frozen=True)
class LayerMap:
    """Place of the map in a layer's output.

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
    """A layer's output as (n, c, h, w), for images of any size; a view wherever the strides allow, differentiable."""
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
    """The inverse of `to_map`: a map (n, c, h, w) in the layer's own layout, with the prefix tokens of `original`."""
    if layer.layout == "none":
        raise LayerError(f"{layer.name} gives no map: its output has no places")
    if layer.layout == "nhwc":
        return values.permute(0, 2, 3, 1)
    if layer.layout == "tokens":
        return torch.cat([original[:, : layer.prefix], values.permute(0, 2, 3, 1).flatten(1, 2)], 1)
    return values


def _token_grid(layer: LayerMap, count: int, image_size: tuple[int, int]) -> tuple[int, int]:
    """The (h, w) with h·w patches that the stride allows: whole patches, or one more where the net pads."""
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
    """A factor of an axis: `size` places of axis `label`, `step` apart.

    Splitting an axis h of 56 into windows of 7 gives h(8, step 7) and h(7, step 1); joined again they are h(56).
    Labels: h, w, c; t = prefix tokens followed by the places of `grid`; ? = anything else. Axes of size 1 have no atom.
    `insets`: of channels put side by side, (how many, by how much less these see than all together).
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
    """A whole axis; an axis of one place needs no label."""
    return (Atom(label, size),) if size > 1 else ()


def labels(part: Axis) -> set[str]:
    """The labels in an axis; prefixed tokens count as h and w."""
    return set("".join(atom.label for atom in part).replace("t", "hw"))


def is_spatial(part: Axis) -> bool:
    return bool(labels(part) & {"h", "w"})


def merged(atoms: Sequence[Atom]) -> Axis:
    """Neighbouring factors of one axis, joined where the outer steps over exactly the inner."""
    joined: list[Atom] = []
    for atom in atoms:
        last = joined[-1] if joined else None
        if last and last.label == atom.label and atom.label in "hwc" and last.step == atom.size * atom.step:
            joined[-1] = Atom(atom.label, last.size * atom.size, atom.step)
        else:
            joined.append(atom)
    return tuple(joined)


def view_axes(axes: Axes, viewed: Tensor) -> Axes:
    """The labels of any view of a contiguous tensor with labels `axes`, read off the view's sizes and strides."""
    units, unit = [], 1
    for atom in reversed([atom for part in axes for atom in part]):
        units.append((atom, unit))
        unit *= atom.size
    offset = int(viewed.storage_offset())
    return tuple(_read_axis(size, stride, offset, units) for size, stride in zip(viewed.shape, viewed.stride(), strict=True))


def view_start(axes: Axes, offset: int, label: str) -> int:
    """How many places of `label` a view's storage offset skips."""
    start, unit = 0, 1
    for atom in reversed([atom for part in axes for atom in part]):
        if atom.label == label:
            start += offset // unit % atom.size * atom.step
        unit *= atom.size
    return start


def _read_axis(size: int, stride: int, offset: int, units: Sequence[tuple[Atom, int]]) -> Axis:
    """The atoms that an axis of `size` steps of `stride` elements walks through, outermost first."""
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
    """A view of joined channels with the insets of those that it holds, and how much less all of these see."""
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
    """Channels that meet others, or one another: from here on each sees what all see."""
    return tuple(tuple(replace(atom, insets=()) for atom in part) for part in axes)


def min_margins(many: Sequence[Margins]) -> Margins:
    """Margins that all of them leave out."""
    top, bottom, left, right = (min(side) for side in zip(*many, strict=True))
    return top, bottom, left, right


def more(margins: Margins, added: Margins) -> Margins:
    """The sum, side by side."""
    top, bottom, left, right = (a + b for a, b in zip(margins, added, strict=True))
    return top, bottom, left, right


def less(margins: Margins, least: Margins) -> Margins:
    """The difference, side by side."""
    top, bottom, left, right = (a - b for a, b in zip(margins, least, strict=True))
    return top, bottom, left, right


def _token_piece(atom: Atom, size: int, every: int, start: int) -> Axis:
    """A slice of prefixed tokens: whole, without some of the prefix, without all of it, or a part without places."""
    if every > 1 or start + size < atom.size or start > atom.prefix:
        return axis("?", size)
    if start == atom.prefix:
        return axis("h", atom.grid[0]) + axis("w", atom.grid[1])
    return (replace(atom, size=size, prefix=atom.prefix - start),)


def role(part: Axis) -> str:
    """Role of an axis: h, w, c, t (places, row by row), "" (one place) or ?."""
    names = "".join(atom.label for atom in part)
    if names in ("", "h", "w", "t"):
        return names
    if names == "hw":
        return "t"
    return "c" if "c" in names and set(names) <= set("chw") else "?"


def read_layout(axes: Axes | None) -> tuple[Layout, int, tuple[int, int] | None]:
    """(layout, prefix, grid) of an output whose axes are labelled."""
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
    """Labels from the shape for one image alone, where nobody could follow: square maps, or tokens of `grid`."""
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
    """The axis of `prefix` tokens followed by the places of `grid`."""
    if not prefix:
        return axis("h", grid[0]) + axis("w", grid[1])
    return (Atom("t", prefix + prod(grid), prefix=prefix, grid=grid),)
