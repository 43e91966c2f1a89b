"""Pictures as sums of coarse and fine parts, and groups of pictures that share coarse parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from tapetum.engines.render.parametrizations.base import Canvas, Parametrization, Start
from tapetum.engines.render.parametrizations.colors import to_colors
from tapetum.engines.render.parametrizations.images import free_of, frequencies, from_a_picture

SHARED = ((2, 1), (4, 1), (8, 1), (8, 2), (16, 1), (16, 2))
"""Levels of `shared`, (times smaller, parts per group), as in the aligned interpolations of mordvintsev2018differentiable."""


def laplacian(
    *, levels: int = 4, sd: float | int = 0.01, decorrelated: bool = True, start: Tensor | None = None
) -> Parametrization:
    """Parametrizes pictures as sums of `levels` parts x_k, each half as large as the one before: p = sigmoid(M sum_k up(x_k)).

    up enlarges bilinearly to the canvas, M is the colour matrix. A number in a coarse part moves many pixels, so pictures are
    smoother than with `pixel`. x starts from N(0, sd^2), or from the picture `start` (1 or n, 3, h, w), of which each
    level holds what the coarser ones leave. Source: the Laplacian pyramid of lucid (olah2017feature).
    """

    def begin(at: Start) -> Canvas:
        sizes = [smaller(at.size, 2**level) for level in range(levels)]
        if start is None:
            counts = [at.channels * h * w for h, w in sizes]
            drawn = at.noise(sum(counts)).split(counts, 1)
            parts = [sd * flat.reshape(len(at), at.channels, *size) for flat, size in zip(drawn, sizes, strict=True)]
        else:
            parts = _taken_apart(free_of(start, at, decorrelated), sizes)
        return Canvas(tuple(parts), lambda: to_colors(_sum(parts, at.size), decorrelated))

    return Parametrization(f"laplacian{'' if levels == 4 else f'(levels={levels})'}" + from_a_picture(start), begin)


def shared(
    *, levels: Sequence[tuple[int, int]] = SHARED, sd: float | int = 0.01, decay: float | int = 1.0, decorrelated: bool = True
) -> Parametrization:
    """Groups of pictures with the same large forms at the same positions: p_i = sigmoid(M (fourier_i + sum_k up(s_k(i)))).

    A level (k, 1) is one shared part, k times smaller than the canvas, added to all pictures of the group. A level (k, 2) has
    two parts: from the first picture of the group to the last, the first part fades into the second. The part fourier_i that
    belongs to one picture starts as in `fourier`, shared parts at zero (in mordvintsev2018differentiable from N(0, sd^2), which
    is not needed, since the other parts differ). A picture depends on the other pictures of its group alone.
    """

    def begin(at: Start) -> Canvas:
        own, values = frequencies(at, sd=sd, decay=decay)
        groups = groups_of(at)
        parts = [own.new_zeros(len(groups), many, at.channels, *smaller(at.size, factor)) for factor, many in levels]

        def pixels() -> Tensor:
            free = values()
            for part in parts:
                large = _enlarged(part.flatten(0, 1), at.size).unflatten(0, part.shape[:2])
                free = free + torch.cat([_faded(large[i], group) for i, group in enumerate(groups)])
            return to_colors(free, decorrelated)

        return Canvas((own, *parts), pixels)

    return Parametrization("shared", begin)


def groups_of(at: Start) -> list[int]:
    """Returns the sizes of the groups in a batch: a new group begins where the variant is not the previous one plus 1."""
    sizes: list[int] = []
    for i, variant in enumerate(at.variants):
        if i and variant == at.variants[i - 1] + 1:
            sizes[-1] += 1
        else:
            sizes.append(1)
    return sizes


def smaller(size: tuple[int, int], factor: int) -> tuple[int, int]:
    """Returns a size (h, w) divided by a factor, rounded up."""
    return -(-size[0] // factor), -(-size[1] // factor)


def _faded(part: Tensor, n: int) -> Tensor:
    """Expands a shared part (1 or 2, 3, h, w) to n pictures: the same for all, or a fade from the first to the second."""
    if len(part) == 1:
        return part.expand(n, -1, -1, -1)
    t = torch.linspace(0, 1, n, device=part.device, dtype=part.dtype)[:, None, None, None]
    return (1 - t) * part[0] + t * part[1]


def _sum(parts: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + _enlarged(part, size)
    return total


def _enlarged(part: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(part, size, mode="bilinear", align_corners=False)


def _taken_apart(free: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Decomposes pictures into parts of the given sizes, the finest first, whose enlarged sum is the picture.

    Each part is what the coarser ones leave.
    """
    parts: list[Tensor] = []
    for size in reversed(sizes[1:]):
        parts.append(interpolate(free, size, mode="bilinear", antialias=True, align_corners=False))
        free = free - _enlarged(parts[-1], sizes[0])
    return [free, *reversed(parts)]
