"""Reads pictures from .npy files, in blocks of rows where rows are contiguous."""

from __future__ import annotations

import io
import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tapetum.data.planes import ValueSpan, accepted, axes_of
from tapetum.data.strips import Raster, Strips, as_tensor, check_type, of_array
from tapetum.files import Layout, array_in, layout_of, some_of
from tapetum.types import ImageError

WHOLE = 64_000_000
"""Largest array in bytes that is read at once; larger ones are read in blocks of rows."""


def saved_array(file: io.BufferedReader | io.BytesIO, name: str, channels: int, span: ValueSpan | None, most: int) -> Strips:
    """Returns the picture in an open .npy file, whose array is read from the start of the file; the file stays open."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    layout = layout_of(file, size, name, ImageError)
    check_type(layout.dtype, name)
    axes = axes_of(layout.shape, name, accepted(channels), last=True)
    c, height, width = (1 if axis < 0 else layout.shape[axis] for axis in axes)
    if height * width > most or (c > 4 and c * height * width > 3 * most):
        raise ImageError(f"{name}: shape {layout.shape}, more than {most / 1e6:g} million pixels; shrink it first")
    if layout.n_bytes <= WHOLE:
        file.seek(0)
        return of_array(array_in(file, size, name, WHOLE, ImageError), name, channels, span)
    reader = _Rows(file, layout, axes, name)
    return Strips(Raster((c, height, width), reader.read), name, channels, span)


class _Rows:
    """Reads boxes of a large array in a file, and keeps one block of rows in memory."""

    def __init__(self, file: io.BufferedReader | io.BytesIO, layout: Layout, axes: tuple[int, int, int], name: str) -> None:
        self._file, self._layout, self._name = file, layout, name
        order = [axis for axis in range(len(layout.shape)) if axis in axes]  # without a leading axis of 1
        self._order = order[::-1] if layout.in_columns else order  # axes in the order of the file, slowest first
        self._axes = axes
        self._height = layout.shape[axes[1]]
        self._block, self._first, self._last = np.empty(0), 0, 0
        n_blocks = -(-layout.n_bytes // WHOLE)
        self._runs = math.prod(layout.shape[axis] for axis in self._order[: self._order.index(axes[1])])  # pieces per row
        if self._runs * n_blocks > 1_000_000:  # so many separate reads take seconds
            raise ImageError(f"{name}: rows lie scattered in this file; save numpy.ascontiguousarray of it")

    def read(self, rows: slice, columns: slice) -> Tensor:
        """Reads a box of the picture, (c, rows, columns)."""
        first, last = rows.start, rows.stop
        if not self._first <= first <= last <= self._last:
            step = max(last - first, self._height * WHOLE // self._layout.n_bytes)
            self._first, self._last = first, min(first + step, self._height)
            self._block = self._rows(self._first, self._last)
        return as_tensor(self._block[:, first - self._first : last - self._first, columns])

    def _rows(self, first: int, last: int) -> NDArray[Any]:
        shape, item = self._layout.shape, self._layout.dtype.itemsize
        at = self._order.index(self._axes[1])
        inner = [shape[axis] for axis in self._order[at + 1 :]]
        row = math.prod(inner) * item
        places = [self._layout.start + (run * self._height + first) * row for run in range(self._runs)]
        found = some_of(self._file, places, (last - first, *inner), self._layout.dtype, self._name, ImageError)
        found = found.reshape([last - first if axis == self._axes[1] else shape[axis] for axis in self._order])
        c, rows, columns = (self._order.index(axis) if axis >= 0 else -1 for axis in self._axes)
        return found.transpose(rows, columns)[None] if c < 0 else found.transpose(c, rows, columns)
