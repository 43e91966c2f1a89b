"""Parametrizations built on another one: with transparency, or without colour."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tapetum.engines.render.parametrizations.base import Canvas, Parametrization, Start
from tapetum.engines.render.parametrizations.colors import one_by_one
from tapetum.engines.render.parametrizations.images import fourier, frequencies


def with_alpha(base: Parametrization | None = None, *, sd: float | int = 0.01, decay: float | int = 1.0) -> Parametrization:
    """Pictures with transparency (n, 4, h, w): colours from `base`, alpha = sigmoid(`fourier` of one channel), 0.5 at first.

    The network sees them over a random background that changes at every step, so only what the objective needs stays opaque.
    Source: the transparent pictures of mordvintsev2018differentiable.
    """
    base = fourier() if base is None else base

    def begin(at: Start) -> Canvas:
        at.in_colors("alpha")
        colors = base(at)
        other = replace(at, seed=-1 - at.seed)  # not the noise of the colours
        alpha, values = frequencies(other, channels=1, sd=sd, decay=decay)
        return Canvas((*colors.parameters, alpha), lambda: torch.cat([colors.pixels(), one_by_one(torch.sigmoid, values())], 1))

    return Parametrization(f"with_alpha({base})", begin, base.mover)


def grayscale(base: Parametrization | None = None) -> Parametrization:
    """Grey pictures: all three colour channels are the mean of the three channels of `base`; alpha is unchanged."""
    base = fourier() if base is None else base

    def grey(pixels: Tensor) -> Tensor:
        mean = (pixels[:, :1] + pixels[:, 1:2] + pixels[:, 2:3]) / 3  # adds up in the same order in every batch
        return torch.cat([*[mean] * 3, pixels[:, 3:]], 1)

    def begin(at: Start) -> Canvas:
        at.in_colors("grayscale")
        colors = base(at)
        sized = colors.sized
        grey_sized = None if sized is None else lambda size: grey(sized(size))
        return Canvas(colors.parameters, lambda: grey(colors.pixels()), grey_sized)

    return Parametrization(f"grayscale({base})", begin, base.mover)
