"""MACO: pictures with the magnitude spectrum of natural images, of which only the phases are optimised."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tapetum.engines.render.optimizers import nadam
from tapetum.engines.render.parametrizations.base import Canvas, Parametrization, Start
from tapetum.engines.render.parametrizations.colors import one_by_one, to_colors
from tapetum.engines.render.parametrizations.images import free_of, from_a_picture
from tapetum.engines.render.parametrizations.natural import FourierSpectrum, natural_spectrum


def maco(
    *,
    spectrum: FourierSpectrum | Callable[[tuple[int, int]], Tensor] | None = None,
    sd: float | int = math.pi,
    start: Tensor | None = None,
) -> Parametrization:
    """Parametrizes pictures by the phases of a fixed spectrum S: p = sigmoid(M irfft2(S exp(i phase))), M the colour matrix.

    S      `spectrum`: `spectrum_of` your images, or a function of the size (h, w) that returns (3, h, w // 2 + 1); by default
           the spectrum of `start`, or without `start` the natural spectrum that is shipped
    phase  starts from N(0, sd^2), for pi nearly uniform, or from the phases of the picture `start` (1 or n, 3, h, w)

    The frequencies that are real by symmetry, at most four including the mean colour, are S cos(phase); the mean starts at
    grey. Source: fel2023maco, which scales phases and pictures to standard deviation 1 at every step; here S keeps the contrast
    of the measured photographs, and phases are not scaled. There the learning rate is 1; here it is 0.2, which after 128 steps
    excited units of EfficientNet-Lite0 twice as much.
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
    """Returns pictures (n, 3, h, w) before `to_colors`, with given magnitudes and phases (..., h, w // 2 + 1)."""
    # where two numbers stand for one frequency of a real picture, the second must be the conjugate of the first
    phase = torch.where(mirror, -phase.flip(-2).roll(1, -2), phase)
    real, imaginary = (magnitude * one_by_one(part, phase) for part in (torch.cos, torch.sin))
    return torch.fft.irfft2(torch.complex(real, imaginary), s=size, norm="ortho")


def is_mirrored(size: tuple[int, int]) -> Tensor:
    """Returns a mask (h, w // 2 + 1) of the numbers of `rfft2` that are conjugates of others: the lower half of the outer
    columns.
    """
    rows, columns = torch.arange(size[0])[:, None], torch.arange(size[1] // 2 + 1)[None]
    return (rows > size[0] // 2) & ((columns == 0) | (2 * columns == size[1]))
