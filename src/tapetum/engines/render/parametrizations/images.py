"""Pictures as their pixels, and as their frequencies."""

from __future__ import annotations

import torch
from torch import Tensor

from tapetum.engines.render.parametrizations.base import Canvas, Parametrization, Start
from tapetum.engines.render.parametrizations.colors import from_colors, to_colors

SCALE = 0.25
"""Frequencies are divided by 4, as in olah2017feature: it sets how far one step of the optimizer goes."""


def pixel(*, sd: float | int = 0.01, decorrelated: bool = True, start: Tensor | None = None) -> Parametrization:
    """One number a pixel and channel: p = sigmoid(M x), x from N(0, sd^2), or from the picture `start` (1 or n, 3, h, w)."""

    def begin(at: Start) -> Canvas:
        free = sd * at.noise(3, *at.size) if start is None else from_colors(fitted(at.of_rows(start), at), decorrelated)
        return Canvas((free,), lambda: to_colors(free, decorrelated))

    return Parametrization("pixel" + _from(start), begin)


def fourier(
    *, sd: float | int = 0.01, decay: float | int = 1.0, decorrelated: bool = True, start: Tensor | None = None
) -> Parametrization:
    """One complex number a frequency: p = sigmoid(M irfft2(x / max(f, 1/max(h, w))^decay) / 4), f in cycles a pixel.

    All frequencies of the picture move alike at a step, where pixels favour the high ones. x from N(0, sd^2), or from the
    picture `start` (1 or n, 3, h, w) in [0, 1]. Source: olah2017feature; decay 1 is the spectrum of natural images.
    """

    def begin(at: Start) -> Canvas:
        scale = frequency_scale(at, decay)
        if start is None:
            free = sd * at.noise(3, *scale.shape, 2)
        else:
            given = from_colors(fitted(at.of_rows(start), at), decorrelated) / SCALE
            free = torch.view_as_real(torch.fft.rfft2(given, norm="ortho") / scale).contiguous()

        def pixels() -> Tensor:
            spectrum = torch.view_as_complex(free) * scale
            return to_colors(SCALE * torch.fft.irfft2(spectrum, s=at.size, norm="ortho"), decorrelated)

        return Canvas((free,), pixels)

    return Parametrization(f"fourier{'' if decay == 1 else f'(decay={decay:g})'}" + _from(start), begin)


def frequency_scale(at: Start, decay: float) -> Tensor:
    """(h, w // 2 + 1): 1 / max(f, 1/max(h, w))^decay, f in cycles a pixel."""
    height, width = at.size
    down = torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    across = torch.fft.rfftfreq(width, dtype=torch.float64)[None]
    f = (down**2 + across**2).sqrt().clamp(min=1 / max(height, width))
    return (f**-decay).to(at.device, at.dtype)


def fitted(pictures: Tensor, at: Start) -> Tensor:
    """Given pictures at the canvas's size."""
    if tuple(pictures.shape[-2:]) == at.size:
        return pictures
    return torch.nn.functional.interpolate(pictures, at.size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def _from(start: Tensor | None) -> str:
    return "" if start is None else " from a picture"
