"""Pictures drawn by a small network from coordinates: smooth at any size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tapetum.engines.render.optimizers import adam
from tapetum.engines.render.parametrizations.base import Canvas, Parametrization, Start
from tapetum.engines.render.parametrizations.colors import to_colors

REACH = 3**0.5
"""Coordinates range from -sqrt 3 to sqrt 3 along the longer side, so that those of a square have variance 1."""


def cppn(*, hidden: int = 24, layers: int = 8, decorrelated: bool = True) -> Parametrization:
    """A network of the place: p = sigmoid(M (W_L a_L + b_L)), a_l = [t / .67, t^2 / .6], t = atan(W_l a + b_l), a_0 = (x, y).

    Each picture has weights of its own. The last layer starts at zero: pictures start grey. What is optimised does not know
    the canvas's size: `Canvas.sized` draws a finished picture at any other. Source: stanley2007cppn in the form of
    mordvintsev2018differentiable. There the outermost pixels lie on the ends of the square; here places are the middles of
    pixels, so that a larger drawing shows the same values at the same places, and other proportions no stretched ones. There
    colours are plain sigmoids; decorrelated ones look calmer and excite units as much.
    """

    def begin(at: Start) -> Canvas:
        weights = _weights(at, hidden, layers)

        def sized(size: tuple[int, int]) -> Tensor:
            # one by one, from copies: matrix products are rounded differently in a batch or at another alignment
            own = ([one.clone() for one in some] for some in zip(*weights, strict=True))
            return torch.cat([to_colors(_drawn(some, size)[None], decorrelated) for some in own])

        return Canvas(tuple(weights), lambda: sized(at.size), sized)

    return Parametrization("cppn", begin, adam(0.003))


def _weights(at: Start, hidden: int, layers: int) -> list[Tensor]:
    """Weights W (n, out, in) and b (n, out, 1), alternating: W from N(0, 1 / in), biases and the last layer zero."""
    widths = [2] + [2 * hidden] * (layers - 1)
    noise = at.noise(sum(hidden * width for width in widths)).split([hidden * width for width in widths], 1)
    weights: list[Tensor] = []
    for width, drawn in zip(widths, noise, strict=True):
        weights += [drawn.reshape(-1, hidden, width) / math.sqrt(width), drawn.new_zeros(len(at), hidden, 1)]
    return [*weights, noise[0].new_zeros(len(at), at.channels, 2 * hidden), noise[0].new_zeros(len(at), at.channels, 1)]


def _drawn(weights: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """One picture (3, h, w) before the colours, from its weights."""
    values = coordinates(size).to(weights[0]).flatten(1)
    for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        t = torch.addmm(b, w, values).atan()
        values = torch.cat([t / 0.67, t.square() / 0.6])
    return torch.addmm(weights[-1], weights[-2], values).unflatten(1, size)


def coordinates(size: tuple[int, int]) -> Tensor:
    """Coordinates (2, h, w), float64, of pixel centres: x to the right and y down."""
    y, x = ((2 * torch.arange(side, dtype=torch.float64) + 1 - side) * REACH / max(size) for side in size)
    return torch.stack([x.expand(size), y[:, None].expand(size)])
