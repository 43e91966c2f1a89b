"""MACO: pictures with the spectrum of natural images, of which only the phases are free."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tapetum.engines.render.optimizers import nadam
from tapetum.engines.render.parametrizations.base import Canvas, Parametrization, Start
from tapetum.engines.render.parametrizations.colors import one_by_one, to_colors
from tapetum.engines.render.parametrizations.images import free_of, from_a_picture
from tapetum.engines.render.parametrizations.spectra import FourierSpectrum, natural_spectrum


def maco(
    *,
    spectrum: FourierSpectrum | Callable[[tuple[int, int]], Tensor] | None = None,
    sd: float | int = math.pi,
    start: Tensor | None = None,
) -> Parametrization:
    """Pictures with the magnitudes of natural images, only the phases move: p = sigmoid(M irfft2(S exp(i phase))).

    S      a spectrum (`spectrum_of` your images, or a function of the size (h, w) that gives (3, h, w // 2 + 1)); without
           one that of the picture to begin with, and without that the shipped one
    phase  from N(0, sd^2) (pi: all alike), or that of the picture `start` (1 or n, 3, h, w)

    The four frequencies at most that are real by symmetry, the mean colour among them, are S cos(phase); the mean starts at
    grey. Source: fel2023maco, which makes phases and pictures have standard deviation 1 at every step; here S keeps the
    contrast of the photographs that were measured, and phases are left as they are. There they move at a rate of 1; here at
    .2, which after 128 steps excited units of EfficientNet-Lite0 twice as much.
    """

    def begin(at: Start) -> Canvas:
        at.in_colors("maco")
        given = None if start is None else torch.fft.rfft2(free_of(start, at), norm="ortho")
        if spectrum is None and given is not None:
            magnitude = given.abs()
        else:
            magnitude = (spectrum or natural_spectrum())(at.size).to(at.device, at.dtype)
        if given is None:
            phase = sd * at.noise(3, at.size[0], at.size[1] // 2 + 1)
            phase[..., 0, 0] = math.pi / 2
        else:
            phase = one_by_one(torch.angle, given)
        mirror = is_mirrored(at.size).to(at.device)

        def pixels() -> Tensor:
            return to_colors(with_phases(magnitude, phase, mirror, at.size))

        return Canvas((phase,), pixels)

    return Parametrization("maco" + from_a_picture(start), begin, nadam(0.2))


def with_phases(magnitude: Tensor, phase: Tensor, mirror: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures (n, 3, h, w) with that spectrum, before the colours."""
    # of two numbers for one frequency of a real picture, the second is the conjugate of the first
    phase = torch.where(mirror, -phase.flip(-2).roll(1, -2), phase)
    real, imaginary = (magnitude * one_by_one(part, phase) for part in (torch.cos, torch.sin))
    return torch.fft.irfft2(torch.complex(real, imaginary), s=size, norm="ortho")


def is_mirrored(size: tuple[int, int]) -> Tensor:
    """Mask (h, w // 2 + 1) of the numbers of `rfft2` that are conjugates of others: the lower half of the outer columns."""
    rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1] // 2 + 1)[None]
    return (rows > size[0] // 2) & ((columns == 0) | (2 * columns == size[1]))
