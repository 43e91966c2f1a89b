"""Pictures as their pixels, and as their frequencies."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tapetum.engines.render.parametrizations.base import Canvas, Parametrization, Start
from tapetum.engines.render.parametrizations.colors import from_colors, to_colors

SCALE = 0.25
"""Frequencies are divided by 4, as in olah2017feature, which scales the optimizer's steps."""


def pixel(*, sd: float | int = 0.01, decorrelated: bool = True, start: Tensor | None = None) -> Parametrization:
    """One number a pixel and channel: p = sigmoid(M x), x from N(0, sd^2), or from the picture `start` (1 or n, 3, h, w)."""

    def begin(at: Start) -> Canvas:
        free = sd * at.noise(at.channels, *at.size) if start is None else free_of(start, at, decorrelated)
        return Canvas((free,), lambda: to_colors(free, decorrelated))

    return Parametrization("pixel" + from_a_picture(start), begin)


def as_it_is(start: Tensor) -> Parametrization:
    """The pixels themselves, p = x, from the picture `start` (1 or n, 3, h, w): for optimizers that keep them in [0, 1]."""

    def begin(at: Start) -> Canvas:
        free = fitted(at.of_rows(start), at.size).clone()
        return Canvas((free,), free.clone)  # a copy: callers may keep the pictures of a step

    return Parametrization("pixels as they are", begin)


def fourier(
    *, sd: float | int = 0.01, decay: float | int = 1.0, decorrelated: bool = True, start: Tensor | None = None
) -> Parametrization:
    """One complex number a frequency: p = sigmoid(M irfft2(x / max(f, 1/max(h, w))^decay) / 4), f in cycles a pixel.

    All frequencies of the picture move alike at a step, where pixels favour the high ones. x from N(0, sd^2), or from the
    picture `start` (1 or n, 3, h, w) in [0, 1]. Source: olah2017feature; decay 1 is the spectrum of natural images.
    """

    def begin(at: Start) -> Canvas:
        numbers, values = frequencies(
            at, sd=sd, decay=decay, given=start if start is None else free_of(start, at, decorrelated)
        )
        return Canvas((numbers,), lambda: to_colors(values(), decorrelated))

    return Parametrization(f"fourier{'' if decay == 1 else f'(decay={decay:g})'}" + from_a_picture(start), begin)


def frequencies(
    at: Start, *, channels: int | None = None, sd: float | int = 0.01, decay: float | int = 1.0, given: Tensor | None = None
) -> tuple[Tensor, Callable[[], Tensor]]:
    """The numbers x of `fourier` (n, channels, h, w // 2 + 1, 2; None: the canvas's), and their function before the colours."""
    scale = frequency_scale(at, decay)
    if given is None:
        numbers = sd * at.noise(channels or at.channels, *scale.shape, 2)
    else:
        numbers = torch.view_as_real(torch.fft.rfft2(given / SCALE, norm="ortho") / scale).contiguous()

    def values() -> Tensor:
        return SCALE * torch.fft.irfft2(torch.view_as_complex(numbers) * scale, s=at.size, norm="ortho")

    return numbers, values


def frequency_scale(at: Start, decay: float) -> Tensor:
    """Scale (h, w // 2 + 1) of frequencies: 1 / max(f, 1/max(h, w))^decay, f in cycles per pixel."""
    f = cycles(at.size).clamp(min=1 / max(at.size))
    return (f**-decay).to(at.device, at.dtype)


def cycles(size: tuple[int, int]) -> Tensor:
    """Frequency (h, w // 2 + 1), float64, of each number of `rfft2`, in cycles per pixel."""
    down = torch.fft.fftfreq(size[0], dtype=torch.float64)[:, None]
    across = torch.fft.rfftfreq(size[1], dtype=torch.float64)[None]
    return (down**2 + across**2).sqrt()


def free_of(start: Tensor, at: Start, decorrelated: bool = True) -> Tensor:
    """Free numbers (n, 3, h, w) of the given pictures of these rows, at the canvas's size."""
    return from_colors(fitted(at.of_rows(start), at.size), decorrelated)


def fitted(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes given pictures to the canvas's size."""
    if tuple(pictures.shape[-2:]) == tuple(size):
        return pictures
    return torch.nn.functional.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def covering(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Crops pictures to the canvas's proportions around the middle, and resizes them to its size."""
    height, width = pictures.shape[-2:]
    share = min(height / size[0], width / size[1])
    h, w = (max(1, min(side, round(share * wanted))) for side, wanted in zip((height, width), size, strict=True))
    top, left = (height - h) // 2, (width - w) // 2
    return fitted(pictures[..., top : top + h, left : left + w], size)


def from_a_picture(start: Tensor | None) -> str:
    """Text about the start in a name."""
    return "" if start is None else " from a picture"
