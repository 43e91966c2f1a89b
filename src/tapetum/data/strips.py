"""Holds large pictures and converts them in blocks of rows: 64 million pixels take 192 MB as bytes, 768 MB as floats.

A `Raster` holds a picture's original values. `Strips` computes pixels in [0, 1] when rows are requested, so that code that
needs only a part, or a smaller picture, never holds all pixels as floats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum.data.planes import ValueSpan, accepted, check_values, in_color, in_unit, planes_of
from tapetum.types import ImageError

AT_ONCE = 1 << 21
"""Number of values that are converted to floats at once."""

# EXIF orientation: (whether to swap rows and columns first, axes to flip then) (TIFF 6.0 specification, tag 274)
_UPRIGHT = {2: (False, [-1]), 3: (False, [-2, -1]), 4: (False, [-2]), 5: (True, []), 6: (True, [-1]),
            7: (True, [-2, -1]), 8: (True, [-2])}  # fmt: skip


class Raster:
    """Original values of a picture, of any type: (c, height, width), turned upright, and read in blocks."""

    def __init__(self, shape: Sequence[int], box: Callable[[slice, slice], Tensor], orientation: int = 1) -> None:
        self._swap, self._flips = _UPRIGHT.get(orientation, (False, []))
        self._box, (c, height, width) = box, shape
        self.shape = (c, width, height) if self._swap else (c, height, width)

    def place(self, first: int, last: int) -> tuple[slice, slice]:
        """Rows and columns, as stored, that hold the upright picture's rows `first` to `last` (excluded)."""
        height = self.shape[1]
        rows = slice(height - last, height - first) if -2 in self._flips else slice(first, last)
        every = slice(0, self.shape[2])
        return (every, rows) if self._swap else (rows, every)

    def rows(self, first: int, last: int) -> Tensor:
        """Returns the upright rows `first` to `last` (excluded), (c, last - first, width)."""
        part = self._box(*self.place(first, last))
        part = part.transpose(-2, -1) if self._swap else part
        return part.flip(self._flips) if self._flips else part

    def bands(self) -> list[Raster]:
        """Returns the picture as pieces from top to bottom whose memory can be freed one by one; here one piece."""
        return [self]


def upright(values: Tensor, orientation: int = 1) -> Raster:
    """Returns a raster of values (c, height, width) in memory, stored in this EXIF orientation."""
    return Raster(values.shape, lambda rows, columns: values[:, rows, columns], orientation)


class Strips:
    """Pixels (1, c, H, W) in [0, 1] of one picture; refuses values that cannot be pixels. Error messages begin with `name`."""

    def __init__(self, raster: Raster, name: str, channels: int = 3, span: ValueSpan | None = None) -> None:
        self.raster, self.channels, self.span = raster, channels, span
        self._floats: Tensor | None = None
        check_values(lambda: (part for _, part in _parts(raster)), name, span)
        c, height, width = raster.shape
        self.shape = 1, (3 if channels in (1, 3) and c in (1, 4) else c), height, width

    def rows(self, first: int, last: int) -> Tensor:
        """Computes the rows `first` to `last` (excluded), (1, c, last - first, W)."""
        if self._floats is not None:
            return self._floats[:, :, first:last]
        return self._pixels(self.raster.rows(first, last))

    def whole(self, dtype: torch.dtype | None = None) -> Tensor:
        """Computes all pixels, contiguous, and keeps them in place of the original values; float32, or float64 for doubles."""
        if self._floats is not None:
            return self._floats
        bands, pixels, at = self.raster.bands(), None, 0
        del self.raster
        while bands:
            for first, part in _parts(bands[0]):
                strip = self._pixels(part)
                if pixels is None:
                    pixels = torch.empty(self.shape, dtype=dtype or strip.dtype, device=strip.device)
                pixels[:, :, at + first : at + first + strip.shape[2]] = strip
            at += bands.pop(0).shape[1]
        assert pixels is not None  # no picture is empty
        self._floats = pixels
        return pixels

    def close(self) -> None:
        """Frees all values; without this, a loop's variable would hold one picture while the next is read."""
        vars(self).pop("raster", None)
        self._floats = None

    def _pixels(self, part: Tensor) -> Tensor:
        return in_color(in_unit(part[None], self.span), self.channels)


def _parts(raster: Raster) -> Iterator[tuple[int, Tensor]]:
    c, height, width = raster.shape
    step = max(1, AT_ONCE // (c * width))
    for first in range(0, height, step):
        yield first, raster.rows(first, min(first + step, height))


def of_tensor(tensor: Tensor, name: str, channels: int = 3, span: ValueSpan | None = None) -> Strips:
    """Returns the strips of one picture (H, W), (c, H, W) or (H, W, c), also with a leading 1; (c, H, W) where both fit."""
    return Strips(upright(planes_of(tensor, name, accepted(channels))), name, channels, span)


def of_array(array: NDArray[np.generic], name: str, channels: int = 3, span: ValueSpan | None = None) -> Strips:
    """Returns the strips of an array (H, W), (H, W, c) or (c, H, W); (H, W, c) where both fit."""
    check_type(array.dtype, name)
    planes = planes_of(np.asarray(array), name, accepted(channels), last=True)
    return Strips(Raster(planes.shape, lambda rows, columns: as_tensor(planes[:, rows, columns])), name, channels, span)


def as_tensor(array: NDArray[np.generic]) -> Tensor:
    """Copies an array to a tensor in native byte order; the memory layout stays the same."""
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="K"))


def check_type(dtype: np.dtype[np.generic], name: str) -> None:
    """Refuses arrays of a type that torch does not have; the error message begins with `name`."""
    try:
        torch.from_numpy(np.empty(0, dtype.newbyteorder("=")))
    except TypeError as error:
        raise ImageError(f"{name}: {dtype} holds no pixels; use uint8, or float in [0, 1]") from error
