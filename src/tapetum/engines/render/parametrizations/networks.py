"""Pictures drawn by a small network from the coordinates of pixels, and so smooth at any size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tapetum.engines.render.optimizers import adam
from tapetum.engines.render.parametrizations.base import Canvas, Parametrization, Start
from tapetum.engines.render.parametrizations.colors import to_colors

REACH = 3**0.5
"""Largest coordinate: from -sqrt 3 to sqrt 3 along the longer side, the coordinates of a square have variance 1."""


def cppn(*, hidden: int = 24, layers: int = 8, decorrelated: bool = True) -> Parametrization:
    """Parametrizes pictures by the weights of a network that maps the coordinates (x, y) of a pixel to its colour p.

    p = sigmoid(M (W_L a_L + b_L)), a_l = [t / .67, t^2 / .6], t = atan(W_l a_(l-1) + b_l), a_0 = (x, y), M the colour matrix.

    Each picture has weights of its own. The last layer starts at zero, so pictures start grey. Weights do not depend on the
    size of the canvas: `Canvas.sized` draws a finished picture at any other size. Source: stanley2007cppn in the form of
    mordvintsev2018differentiable, with two differences. There the outermost pixels lie on the border of the square; here
    coordinates are those of pixel centres, so a larger drawing has the same values at the same positions, and other proportions
    do not stretch it. There colours are plain sigmoids; decorrelated colours look calmer and excite units as much.
    """

    def begin(at: Start) -> Canvas:
        weights = _weights(at, hidden, layers)

        def sized(size: tuple[int, int]) -> Tensor:
            # picture by picture, from copies: a matrix product rounds differently in a batch or at another alignment
            own = ([one.clone() for one in some] for some in zip(*weights, strict=True))
            return torch.cat([to_colors(_drawn(some, size)[None], decorrelated) for some in own])

        return Canvas(tuple(weights), lambda: sized(at.size), sized)

    return Parametrization("cppn", begin, adam(0.003))


def _weights(at: Start, hidden: int, layers: int) -> list[Tensor]:
    """Returns initial weights W (n, out, in) and b (n, out, 1), alternating: W from N(0, 1 / in), biases and the last layer
    zero.
    """
    widths = [2] + [2 * hidden] * (layers - 1)
    noise = at.noise(sum(hidden * width for width in widths)).split([hidden * width for width in widths], 1)
    weights: list[Tensor] = []
    for width, drawn in zip(widths, noise, strict=True):
        weights += [drawn.reshape(-1, hidden, width) / math.sqrt(width), drawn.new_zeros(len(at), hidden, 1)]
    return [*weights, noise[0].new_zeros(len(at), at.channels, 2 * hidden), noise[0].new_zeros(len(at), at.channels, 1)]


def _drawn(weights: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Computes one picture (3, h, w) before `to_colors` from the weights of its network."""
    values = coordinates(size).to(weights[0]).flatten(1)
    for w, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        t = torch.addmm(b, w, values).atan()
        values = torch.cat([t / 0.67, t.square() / 0.6])
    return torch.addmm(weights[-1], weights[-2], values).unflatten(1, size)


def coordinates(size: tuple[int, int]) -> Tensor:
    """Returns the coordinates (2, h, w), float64, of pixel centres: x to the right and y down, 0 in the middle."""
    y, x = ((2 * torch.arange(side, dtype=torch.float64) + 1 - side) * REACH / max(size) for side in size)
    return torch.stack([x.expand(size), y[:, None].expand(size)])
