"""Transforms: small random changes of the picture before the network, so that it must excite a unit under all of them.

Each transform draws its random numbers once per step for the whole batch. Consecutive jitter, scale and rotation are joined
to one affine map, by which the picture is resampled once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tapetum.data.preprocessing import as_pair, size_of
from tapetum.types import MethodError
from tapetum.types.text import as_text

Padding = Literal["reflect", "grey", "noise"]
Change = Callable[[Tensor, Generator], Tensor]
Matrix = Callable[[tuple[int, int], Generator], Tensor]


@dataclass(frozen=True, eq=False)
class Transform:
    """Random change of pixels (n, c, h, w), given by one of two functions that draw from a generator.

    apply    maps pixels to changed pixels
    matrix   for geometric changes: returns a 3 x 3 matrix from positions in the result to positions in the picture, in px from
             the centre (x to the right, y down)
    """

    name: str
    apply: Change | None = None
    matrix: Matrix | None = None

    def __str__(self) -> str:
        return self.name


def jitter(px: int) -> Transform:
    """Shifts the picture by a random whole number of pixels from -px to px, horizontally and vertically."""

    def matrix(_size: tuple[int, int], generator: Generator) -> Tensor:
        dx, dy = torch.randint(-px, px + 1, (2,), generator=generator).tolist()
        return torch.tensor([[1.0, 0, dx], [0, 1, dy], [0, 0, 1]], dtype=torch.float64)

    return Transform(f"jitter({px})", matrix=matrix)


def roll(px: int) -> Transform:
    """Shifts the picture by random whole numbers from -px to px in both directions; what leaves one side enters the other."""

    def apply(pixels: Tensor, generator: Generator) -> Tensor:
        dx, dy = torch.randint(-px, px + 1, (2,), generator=generator).tolist()
        return pixels.roll((dy, dx), (-2, -1))

    return Transform(f"roll({px})", apply)


def random_scale(low: float | int = 0.9, high: float | int = 1.1) -> Transform:
    """Scales the picture by a random factor between low and high; the number of its pixels stays the same."""

    def matrix(_size: tuple[int, int], generator: Generator) -> Tensor:
        factor = low + (high - low) * _uniform(generator)
        return torch.diag(torch.tensor([1 / factor, 1 / factor, 1], dtype=torch.float64))

    return Transform(f"random_scale({low:g}, {high:g})", matrix=matrix)


def random_rotate(degrees: float | int = 10) -> Transform:
    """Rotates the picture by a random angle between -degrees and degrees; the corners are filled with the mirrored picture."""

    def matrix(_size: tuple[int, int], generator: Generator) -> Tensor:
        angle = math.radians(degrees) * (2 * _uniform(generator) - 1)
        c, s = math.cos(angle), math.sin(angle)
        return torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)

    return Transform(f"random_rotate({degrees:g})", matrix=matrix)


def random_view(size: int | tuple[int, int], low: float | int = 0.5, high: float | int = 1.0) -> Transform:
    """Crops a random part with the proportions of `size` and resizes it to `size` px.

    The part is smaller than the largest one that fits into the picture by a random factor between low and high per side.
    size: a side, or (height, width).
    For pictures of a size that the network does not take; when a part is reduced, its pixels are averaged.
    """

    def apply(pixels: Tensor, generator: Generator) -> Tensor:
        height, width = size_of(pixels)
        largest = min(height / h, width / w) * (low + (high - low) * _uniform(generator))
        rows, columns = (max(1, round(largest * side)) for side in (h, w))
        top, left = (round(_uniform(generator) * (whole - part)) for whole, part in ((height, rows), (width, columns)))
        part = pixels[..., top : top + rows, left : left + columns]
        return F.interpolate(part, (h, w), mode="bilinear", antialias=True, align_corners=False)

    h, w = as_pair(size)
    return Transform(f"random_view({h if h == w else as_text((h, w))}, {low:g}, {high:g})", apply)


def pad(px: int, fill: Padding = "grey") -> Transform:
    """Adds px pixels on every side, filled with grey (0.5), the mirrored picture, or uniform noise."""

    def apply(pixels: Tensor, generator: Generator) -> Tensor:
        if fill == "reflect":
            return F.pad(pixels, [px] * 4, mode="reflect")
        if fill == "grey":
            return F.pad(pixels, [px] * 4, value=0.5)
        inside = F.pad(torch.ones_like(pixels[:1, :1]), [px] * 4)
        shape = (1, pixels.shape[1], *inside.shape[-2:])
        return F.pad(pixels, [px] * 4) + (1 - inside) * _drawn(torch.rand, shape, pixels, generator)

    return Transform(f"pad({px}, {fill})", apply)


def noise(sd: float | int = 0.02) -> Transform:
    """Adds normal noise of standard deviation `sd` to pixels in [0, 1]."""

    def apply(pixels: Tensor, generator: Generator) -> Tensor:
        return pixels + sd * _drawn(torch.randn, (1, *pixels.shape[1:]), pixels, generator)

    return Transform(f"noise({sd:g})", apply)


STANDARD = (jitter(8), random_scale(0.9, 1.1), random_rotate(10), jitter(4))
"""Transforms of olah2017feature without the grey padding: beyond its edges the picture is mirrored instead."""

LUCID = (pad(12), jitter(8), random_scale(0.9, 1.1), random_rotate(10), jitter(4))
"""Transforms of olah2017feature, except that scale and angle are drawn from an interval instead of eleven values."""

PRESETS: dict[str, Sequence[Transform]] = {"standard": STANDARD, "lucid": LUCID, "none": ()}


def as_transforms(given: Any) -> tuple[Transform, ...]:
    """Returns a tuple of transforms for the name of a preset, one transform, or several."""
    if isinstance(given, str):
        if given not in PRESETS:
            raise MethodError(f"transforms are {', '.join(PRESETS)}, or a list of them, not '{given}'")
        return tuple(PRESETS[given])
    many = (given,) if isinstance(given, Transform) else tuple(given or ())
    if not all(isinstance(one, Transform) for one in many):
        raise MethodError(f"transforms are {', '.join(PRESETS)}, or a list such as [tp.transforms.jitter(8)]")
    return many


def transformed(pixels: Tensor, transforms: Sequence[Transform], generator: Generator) -> Tensor:
    """Applies the transforms in order, each with one random draw; consecutive geometric ones share one resampling."""
    waiting: Tensor | None = None
    for one in transforms:
        if one.matrix is not None:
            step = one.matrix(size_of(pixels), generator)
            waiting = step if waiting is None else waiting @ step
            continue
        pixels = pixels if waiting is None else sampled(pixels, waiting)
        waiting = None
        assert one.apply is not None
        pixels = one.apply(pixels, generator)
    return pixels if waiting is None else sampled(pixels, waiting)


def sampled(pixels: Tensor, matrix: Tensor) -> Tensor:
    """Resamples pictures bilinearly by a 3 x 3 matrix from result to picture (px from the centre), mirrored at their edges."""
    n, _, height, width = pixels.shape
    half = torch.tensor([width / 2, height / 2, 1], dtype=torch.float64)
    unit = matrix * half / half[:, None]  # in halves of the picture, grid_sample's units
    theta = unit[None, :2].to(pixels.device, pixels.dtype)
    grid = F.affine_grid(theta, [1, 1, height, width], align_corners=False).expand(n, -1, -1, -1)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _uniform(generator: Generator) -> float:
    return float(torch.rand((), generator=generator, dtype=torch.float64))


def _drawn(draw: Callable[..., Tensor], shape: Sequence[int], like: Tensor, generator: Generator) -> Tensor:
    """Draws random numbers on the CPU, so that every device gets the same ones."""
    return draw(shape, generator=generator, dtype=torch.float64).to(like.device, like.dtype)
