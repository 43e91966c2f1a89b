"""Optimises smooth masks of a given area to maximise a score: mask parametrization, blur pyramid, gradient ascent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.gradients import derivative
from tapetum.engines.perturb.fills import gaussian_blurred
from tapetum.progress import track

COLDNESS = 20
"""Inverse temperature of the smooth maximum."""

LEVELS = 8
"""Number of levels of the blur pyramid, including the image itself."""

LEARNING_RATE, MOMENTUM, AREA_WEIGHT, AREA_GROWTH = 0.01, 0.9, 300, 1.0035
"""Settings of the ascent, as in the authors' code."""

TIED = 0.01
"""Mask values that differ by less than this share their rank, so that rounding does not decide which is kept."""


class SmoothMask:
    """Turns a grid of control values (n, 1, rows, columns), one every `step` px, into masks smooth at a scale of sigma px.

    m(u) = smooth maximum over controls v of k(|u - v|) c(v), k(d) = exp(-2 max(0, d / sigma - 1/2)^2). The mask extends about
    sigma px beyond the image, so that a place at its border costs as much area as one in the middle.
    """

    def __init__(self, height: int, width: int, step: int, sigma: float, like: Tensor) -> None:
        self.rows, self.columns = math.ceil(height / step), math.ceil(width / step)
        self._margin, self._reach = math.ceil(sigma / step), 1 + math.ceil(sigma / step)
        self._step, self._size = step, (height, width)
        inside = torch.arange(step, dtype=like.dtype, device=like.device)
        offsets = step * torch.arange(-self._reach, self._reach + 1, dtype=like.dtype, device=like.device)
        away = (inside - offsets[:, None]) ** 2
        distance = (away[:, None, :, None] + away[None, :, None, :]).sqrt()  # (dy, dx, y in its cell, x in its cell)
        self._kernel = (-2 * (distance / sigma - 0.5).clamp(min=0) ** 2).exp().flatten(0, 1)

    def __call__(self, controls: Tensor) -> Tensor:
        """Returns the masks on the image and on the margin around it, (n, H, W)."""
        side, around = 2 * self._reach + 1, self._margin + self._reach
        near = F.unfold(controls, side, padding=around)
        cells = (self.rows + 2 * self._margin, self.columns + 2 * self._margin)
        near = near.view(len(controls), side**2, cells[0], 1, cells[1], 1)
        values = near * self._kernel[:, None, :, None, :]
        most = (values * (COLDNESS * values).softmax(1)).sum(1)
        return most.reshape(len(controls), cells[0] * self._step, cells[1] * self._step)

    def cut(self, whole: Tensor) -> Tensor:
        """Returns the part of the masks that lies on the image, (n, 1, h, w)."""
        start, (height, width) = self._margin * self._step, self._size
        return whole[:, None, start : start + height, start : start + width]


def blur_pyramid(images: Tensor, sigma_px: float) -> Callable[[Tensor], Tensor]:
    """Returns a function from masks (n, 1, h, w) to images blurred by (1 - mask) * sigma_px, interpolated between 8 levels."""
    sigmas = [sigma_px * (1 - level / (LEVELS - 1)) for level in range(LEVELS - 1)]
    levels = [*(gaussian_blurred(images, sigma) for sigma in sigmas), images]

    def seen_through(masks: Tensor) -> Tensor:
        place = masks * (LEVELS - 1)
        return sum(((1 - (place - k).abs()).clamp(min=0) * level for k, level in enumerate(levels)), torch.zeros_like(images))

    return seen_through


def area_reference(whole: Tensor, kept: int) -> Tensor:
    """Returns target values (n, p) for masks `whole` (n, p): 1 for the `kept` largest values of each mask, 0 for the others.

    Values equal (within TIED) to the smallest that is kept share the remaining ones equally.
    """
    order = whole.sort(1).values
    below = torch.searchsorted(order, whole - TIED)
    upto = torch.searchsorted(order, whole + TIED, right=True)
    return ((upto - (whole.shape[1] - kept)).to(whole) / (upto - below)).clamp(0, 1)


def extremal_mask(
    reward: Callable[[Tensor, int], Tensor], mask: SmoothMask, rows: Sequence[int], kept: int, n_steps: int, like: Tensor
) -> Tensor:
    """Maximises reward(mask, step) - weight * mean (mask - area_reference)^2 with a growing weight; returns (n, 1, h, w).

    rows: rows of the method's result that the n masks are.
    """
    controls, velocity = like.new_ones(len(rows), 1, mask.rows, mask.columns), None
    weight = float(AREA_WEIGHT)

    def so_far() -> Tensor:
        return mask.cut(mask(controls))

    for step in track(range(n_steps), n_steps, "steps", so_far=so_far, rows=rows):
        with torch.enable_grad():
            leaf = controls.detach().requires_grad_()
            whole = mask(leaf)
            flat = whole.detach().flatten(1)
            shown = whole.detach().requires_grad_()
            slope = derivative(reward(mask.cut(shown), step), shown)
            slope = slope - (2 * weight / flat.shape[1] * (flat - area_reference(flat, kept))).view_as(shown)
            (grad,) = torch.autograd.grad(whole, leaf, slope)
        velocity = grad if velocity is None else MOMENTUM * velocity + (1 - MOMENTUM) * grad
        controls = (controls + LEARNING_RATE * velocity).clamp(0, 1)
        weight *= AREA_GROWTH
    return so_far()
