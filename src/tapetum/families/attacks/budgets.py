"""Budgets of attacks: the pixels within a distance of a picture, in the largest change of a value or in length."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from tapetum.types import MethodError
from tapetum.types.attacks import Norm

INWARDS = 1 - 1e-14
"""Share of a length that may be used, so that it is within the budget in whatever order its squares are summed."""


def numbers_of(eps: Any, norm: Norm) -> tuple[float, ...]:
    """Returns budgets, sorted and each once, from a number, a text such as "4/255", or several; refuses others."""
    many = eps if isinstance(eps, (list, tuple)) or (isinstance(eps, Sequence) and not isinstance(eps, str)) else [eps]
    found = sorted({number_of(one, "eps") for one in many})
    if not found:
        raise MethodError("eps holds no number: give one, such as '4/255', or several")
    if norm == "inf" and found[-1] > 1:
        raise MethodError(
            f"eps is the largest change of a pixel in [0, 1], not {found[-1]:g}: {found[-1]:g}/255 is '{found[-1]:g}/255'"
        )
    return tuple(found)


def number_of(value: Any, name: str) -> float:
    """Returns a number from a number or a text such as "4/255"; refuses what is no number from 0 up."""
    try:
        number = (
            float(value)
            if not isinstance(value, str)
            else float(math.prod([Fraction(one) ** power for one, power in _parts(value)]))
        )
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        number = math.nan
    if not 0 <= number < math.inf or isinstance(value, bool):
        raise MethodError(f"{name} is a number from 0 up, such as 0.01 or '4/255', not {value!r}")
    return number


def _parts(text: str) -> list[tuple[str, int]]:
    """Splits "4/255" into ("4", 1) and ("255", -1), the powers of its factors."""
    first, *rest = text.split("/")
    return [(first, 1), *((one, -1) for one in rest)]


@dataclass(frozen=True, eq=False)
class Ball:
    """Pixels in [0, 1] within `eps` of the clean ones (n, c, h, w): exactly, also after rounding."""

    clean: Tensor
    eps: float
    norm: Norm

    @functools.cached_property
    def ends(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest value of each pixel, rounded inwards, for the norm "inf"."""
        return self._end(-self.eps), self._end(self.eps)

    def _end(self, change: float) -> Tensor:
        end = (self.clean.double() + change).clamp(0, 1).to(self.clean.dtype)
        beyond = (end.double() - self.clean.double()).abs() > self.eps
        return torch.where(beyond, torch.nextafter(end, self.clean), end)

    def inside(self, pixels: Tensor) -> Tensor:
        """Returns the pixels moved into the ball: each value clamped, or the whole change shortened; then clamped to [0, 1]."""
        if self.norm == "inf":
            return pixels.clamp(*self.ends)
        change = pixels - self.clean
        sizes = length(change)
        factor, less = self.eps / sizes.clamp(min=self.eps or 1), 8 * torch.finfo(change.dtype).eps
        made = self._shortened(change, factor)
        while bool((far := length(made.double() - self.clean.double()) > self.eps * INWARDS).any()):  # by rounding
            factor = torch.where(far, factor * (1 - less), factor)
            less = min(4 * less, 1.0)
            made = self._shortened(change, factor)
        return made

    def _shortened(self, change: Tensor, factor: Tensor) -> Tensor:
        return (self.clean + change * factor.view(-1, 1, 1, 1).to(change.dtype)).clamp(0, 1)

    def direction(self, gradient: Tensor) -> Tensor:
        """Returns the change of size 1 that raises the loss most, to first order: the gradient's sign, or it at length 1."""
        if self.norm == "inf":
            return gradient.sign()
        size = length(gradient).clamp(min=torch.finfo(gradient.dtype).tiny)
        return gradient / size.view(-1, 1, 1, 1)

    def start(self, seed: int) -> Tensor:
        """Returns random pixels in the ball, drawn for each image alone: uniform values, or a direction of uniform length."""
        return self.inside(self.clean + torch.cat([self._drawn(seed) for _ in self.clean]))

    def _drawn(self, seed: int) -> Tensor:
        generator, one = torch.Generator().manual_seed(seed), torch.empty_like(self.clean[:1], device="cpu")
        if self.norm == "inf":
            return one.uniform_(-self.eps, self.eps, generator=generator).to(self.clean)
        one.normal_(generator=generator)
        share = torch.zeros(1, 1, 1, 1, dtype=one.dtype).uniform_(0, 1, generator=generator)
        return (one * (share / length(one).view(-1, 1, 1, 1) * self.eps)).to(self.clean)

    def edge(self, seed: int) -> Tensor:
        """Returns random pixels of full size eps: a random sign for every value, or a random direction."""
        return self.inside(self.clean + torch.cat([self._of_full_size(seed) for _ in self.clean]))

    def _of_full_size(self, seed: int) -> Tensor:
        generator, one = torch.Generator().manual_seed(seed), torch.empty_like(self.clean[:1], device="cpu")
        one.normal_(generator=generator)
        unit = torch.where(one < 0, -1.0, 1.0).to(one) if self.norm == "inf" else one / length(one).view(-1, 1, 1, 1)
        return (self.eps * unit).to(self.clean)


def length(change: Tensor) -> Tensor:
    """Returns the root of the sum of squares (n,) of each image's values."""
    return change.flatten(1).square().sum(1).sqrt()
