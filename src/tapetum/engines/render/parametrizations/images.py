"""Pictures parametrized by their pixels or by their frequencies."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tapetum.engines.render.parametrizations.base import Canvas, Parametrization, Start
from tapetum.engines.render.parametrizations.colors import from_colors, to_colors

SCALE = 0.25
"""Factor of all frequencies, 1/4 as in olah2017feature; it scales the effect of the optimizer's steps."""


def pixel(*, sd: float | int = 0.01, decorrelated: bool = True, start: Tensor | None = None) -> Parametrization:
    """Parametrizes pictures by one number x per pixel and channel: p = sigmoid(M x), M the colour matrix.

    x starts from N(0, sd^2), or from the picture `start` (1 or n, 3, h, w) in [0, 1].
    """

    def begin(at: Start) -> Canvas:
        free = sd * at.noise(at.channels, *at.size) if start is None else free_of(start, at, decorrelated)
        return Canvas((free,), lambda: to_colors(free, decorrelated))

    return Parametrization("pixel" + from_a_picture(start), begin)


def as_it_is(start: Tensor) -> Parametrization:
    """Parametrizes pictures by the pixels themselves, from `start` (1 or n, 3, h, w), for optimizers
    that keep them in [0, 1].
    """

    def begin(at: Start) -> Canvas:
        free = fitted(at.of_rows(start), at.size).clone()
        return Canvas((free,), free.clone)  # a copy, since callers may keep the pictures of a step

    return Parametrization("pixels as they are", begin)


def fourier(
    *, sd: float | int = 0.01, decay: float | int = 1.0, decorrelated: bool = True, start: Tensor | None = None
) -> Parametrization:
    """Parametrizes pictures by a complex number x per frequency f: p = sigmoid(M irfft2(x / max(f, 1/max(h, w))^decay) / 4).

    f is in cycles per pixel, M the colour matrix. A step moves all frequencies alike, while with pixels it favours high ones. x
    starts from N(0, sd^2), or from the picture `start` (1 or n, 3, h, w) in [0, 1]. A decay of 1 gives the spectrum of natural
    images. Source: olah2017feature.
    """

    def begin(at: Start) -> Canvas:
        given = None if start is None else free_of(start, at, decorrelated)
        numbers, values = frequencies(at, sd=sd, decay=decay, given=given)
        return Canvas((numbers,), lambda: to_colors(values(), decorrelated))

    return Parametrization(f"fourier{'' if decay == 1 else f'(decay={decay:g})'}" + from_a_picture(start), begin)


def frequencies(
    at: Start, *, channels: int | None = None, sd: float | int = 0.01, decay: float | int = 1.0, given: Tensor | None = None
) -> tuple[Tensor, Callable[[], Tensor]]:
    """Returns the numbers x of `fourier` (n, channels, h, w // 2 + 1, 2), and a function that computes pictures from them.

    The function returns (n, channels, h, w), before `to_colors`. By default there are as many channels as in the canvas. x
    starts from noise, or from the values `given`.
    """
    scale = frequency_scale(at, decay)
    if given is None:
        numbers = sd * at.noise(channels or at.channels, *scale.shape, 2)
    else:
        numbers = torch.view_as_real(torch.fft.rfft2(given / SCALE, norm="ortho") / scale).contiguous()

    def values() -> Tensor:
        return SCALE * torch.fft.irfft2(torch.view_as_complex(numbers) * scale, s=at.size, norm="ortho")

    return numbers, values


def frequency_scale(at: Start, decay: float) -> Tensor:
    """Returns the factor (h, w // 2 + 1) of each frequency f, in cycles per pixel: 1 / max(f, 1/max(h, w))^decay."""
    f = cycles(at.size).clamp(min=1 / max(at.size))
    return (f**-decay).to(at.device, at.dtype)


def cycles(size: tuple[int, int]) -> Tensor:
    """Returns the frequency (h, w // 2 + 1), float64, of each number that `rfft2` returns, in cycles per pixel."""
    down = torch.fft.fftfreq(size[0], dtype=torch.float64)[:, None]
    across = torch.fft.rfftfreq(size[1], dtype=torch.float64)[None]
    return (down**2 + across**2).sqrt()


def free_of(start: Tensor, at: Start, decorrelated: bool = True) -> Tensor:
    """Returns the unbounded numbers (n, 3, h, w), before `to_colors`, of the given picture of each row, at the size of the
    canvas.
    """
    return from_colors(fitted(at.of_rows(start), at.size), decorrelated)


def fitted(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Resizes pictures to a size (h, w), which may change their proportions."""
    if tuple(pictures.shape[-2:]) == tuple(size):
        return pictures
    return torch.nn.functional.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def covering(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Crops pictures around the middle to the proportions of a size (h, w), and resizes them to it."""
    height, width = pictures.shape[-2:]
    share = min(height / size[0], width / size[1])
    h, w = (max(1, min(side, round(share * wanted))) for side, wanted in zip((height, width), size, strict=True))
    top, left = (height - h) // 2, (width - w) // 2
    return fitted(pictures[..., top : top + h, left : left + w], size)


def from_a_picture(start: Tensor | None) -> str:
    """Returns the end of a parametrization's name, which tells whether it starts from a picture."""
    return "" if start is None else " from a picture"
