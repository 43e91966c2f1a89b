"""Transforms: small random changes before the network, so that a picture must work under all of them.

Each draws once per step for the whole batch. Consecutive jitter, scale and rotation become one affine map and one sampling
of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from tapetum.data.preprocessing import as_pair, as_text
from tapetum.types import MethodError

Padding = Literal["reflect", "grey", "noise"]
Change = Callable[[Tensor, Generator], Tensor]
Matrix = Callable[[tuple[int, int], Generator], Tensor]


@dataclass(frozen=True, eq=False)
class Transform:
    """Random change of pixels (n, c, h, w), drawn by a generator. A geometric one gives the 3 x 3 map of its step instead.

    apply    the pixels of the step
    matrix   from places of the result to places of the picture, in px from the centre (x to the right, y down)
    """

    name: str
    apply: Change | None = None
    matrix: Matrix | None = None

    def __str__(self) -> str:
        return self.name


def jitter(px: int) -> Transform:
    """Moves the picture by up to px pixels, -px to px, in both directions."""

    def matrix(_size: tuple[int, int], generator: Generator) -> Tensor:
        dx, dy = torch.randint(-px, px + 1, (2,), generator=generator).tolist()
        return torch.tensor([[1.0, 0, dx], [0, 1, dy], [0, 0, 1]], dtype=torch.float64)

    return Transform(f"jitter({px})", matrix=matrix)


def roll(px: int) -> Transform:
    """Moves the picture by up to px pixels, -px to px, in both directions; what leaves at one side comes in at the other."""

    def apply(pixels: Tensor, generator: Generator) -> Tensor:
        dx, dy = torch.randint(-px, px + 1, (2,), generator=generator).tolist()
        return pixels.roll((dy, dx), (-2, -1))

    return Transform(f"roll({px})", apply)


def random_scale(low: float | int = 0.9, high: float | int = 1.1) -> Transform:
    """Enlarges the picture by a factor between low and high; the canvas keeps its size."""

    def matrix(_size: tuple[int, int], generator: Generator) -> Tensor:
        factor = low + (high - low) * _uniform(generator)
        return torch.diag(torch.tensor([1 / factor, 1 / factor, 1], dtype=torch.float64))

    return Transform(f"random_scale({low:g}, {high:g})", matrix=matrix)


def random_rotate(degrees: float | int = 10) -> Transform:
    """Turns the picture by an angle between -degrees and degrees; what comes in at the corners is the mirrored picture."""

    def matrix(_size: tuple[int, int], generator: Generator) -> Tensor:
        angle = math.radians(degrees) * (2 * _uniform(generator) - 1)
        c, s = math.cos(angle), math.sin(angle)
        return torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)

    return Transform(f"random_rotate({degrees:g})", matrix=matrix)


def random_view(size: int | tuple[int, int], low: float | int = 0.5, high: float | int = 1.0) -> Transform:
    """Looks at a part with the proportions of `size`, a share between low and high of the largest one, at `size` px.

    size: a side, or (height, width).
    For pictures of any size before a network that has one of its own; a pixel of a smaller view is a mean of the picture's.
    """

    def apply(pixels: Tensor, generator: Generator) -> Tensor:
        height, width = (int(side) for side in pixels.shape[-2:])
        largest = min(height / h, width / w) * (low + (high - low) * _uniform(generator))
        rows, columns = (max(1, round(largest * side)) for side in (h, w))
        top, left = (round(_uniform(generator) * (whole - part)) for whole, part in ((height, rows), (width, columns)))
        part = pixels[..., top : top + rows, left : left + columns]
        return F.interpolate(part, (h, w), mode="bilinear", antialias=True, align_corners=False)

    h, w = as_pair(size)
    return Transform(f"random_view({h if h == w else as_text((h, w))}, {low:g}, {high:g})", apply)


def pad(px: int, fill: Padding = "grey") -> Transform:
    """Adds px pixels at every side: grey (.5), the mirrored picture, or uniform noise."""

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
    """Adds normal noise of that standard deviation, in pixels of [0, 1]."""

    def apply(pixels: Tensor, generator: Generator) -> Tensor:
        return pixels + sd * _drawn(torch.randn, (1, *pixels.shape[1:]), pixels, generator)

    return Transform(f"noise({sd:g})", apply)


STANDARD = (jitter(8), random_scale(0.9, 1.1), random_rotate(10), jitter(4))
"""Those of olah2017feature without its grey padding: the picture goes on mirrored at its edges instead."""

LUCID = (pad(12), jitter(8), random_scale(0.9, 1.1), random_rotate(10), jitter(4))
"""Those of olah2017feature; scale and angle are drawn evenly here, from eleven steps there."""

PRESETS: dict[str, Sequence[Transform]] = {"standard": STANDARD, "lucid": LUCID, "none": ()}


def as_transforms(given: Any) -> tuple[Transform, ...]:
    """A preset's name, one transform, or several."""
    if isinstance(given, str):
        if given not in PRESETS:
            raise MethodError(f"transforms are {', '.join(PRESETS)}, or a list of them, not '{given}'")
        return tuple(PRESETS[given])
    many = (given,) if isinstance(given, Transform) else tuple(given or ())
    if not all(isinstance(one, Transform) for one in many):
        raise MethodError(f"transforms are {', '.join(PRESETS)}, or a list such as [tp.transforms.jitter(8)]")
    return many


def transformed(pixels: Tensor, transforms: Sequence[Transform], generator: Generator) -> Tensor:
    """Applies one draw of all of them, in order; consecutive geometric ones are joined to one sampling."""
    waiting: Tensor | None = None
    for one in transforms:
        if one.matrix is not None:
            step = one.matrix((int(pixels.shape[-2]), int(pixels.shape[-1])), generator)
            waiting = step if waiting is None else waiting @ step
            continue
        pixels = pixels if waiting is None else sampled(pixels, waiting)
        waiting = None
        assert one.apply is not None
        pixels = one.apply(pixels, generator)
    return pixels if waiting is None else sampled(pixels, waiting)


def sampled(pixels: Tensor, matrix: Tensor) -> Tensor:
    """Samples the picture bilinearly at the places of the map (3 x 3, px from the centre); outside it is mirrored."""
    n, _, height, width = pixels.shape
    half = torch.tensor([width / 2, height / 2, 1], dtype=torch.float64)
    unit = matrix * half / half[:, None]  # in halves of the picture, grid_sample's units
    theta = unit[None, :2].to(pixels.device, pixels.dtype)
    grid = F.affine_grid(theta, [1, 1, height, width], align_corners=False).expand(n, -1, -1, -1)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _uniform(generator: Generator) -> float:
    return float(torch.rand((), generator=generator, dtype=torch.float64))


def _drawn(draw: Callable[..., Tensor], shape: Sequence[int], like: Tensor, generator: Generator) -> Tensor:
    """Draws on the CPU, so that every device gets the same numbers."""
    return draw(shape, generator=generator, dtype=torch.float64).to(like.device, like.dtype)
