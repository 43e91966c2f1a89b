"""Optimizers of a canvas's parameters. Each works picture by picture, so the pictures of a batch do not interact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


@dataclass(frozen=True, eq=False)
class Mover:
    """Named factory: `begin` creates an optimizer for the parameters of a canvas."""

    name: str
    begin: Callable[[Sequence[Tensor]], Optimizer]

    def __str__(self) -> str:
        return self.name


def adam(lr: float | int = 0.05) -> Mover:
    """Adam (kingma2015adam); olah2017feature uses a learning rate of 0.05."""
    return Mover(f"adam({lr:g})", lambda numbers: torch.optim.Adam(list(numbers), lr=lr, foreach=False))


def bounded_adam(lr: float | int = 0.02, low: float = 0.0, high: float = 1.0) -> Mover:
    """Adam with numbers clamped to [low, high]: for raw pixels, so that they do not get stuck at black and white."""
    return Mover(f"bounded_adam({lr:g})", lambda numbers: _BoundedAdam(list(numbers), lr, low, high))


def nadam(lr: float | int = 1.0) -> Mover:
    """Adam with Nesterov's momentum; fel2023maco uses a learning rate of 1 for the phases of a spectrum."""
    return Mover(f"nadam({lr:g})", lambda numbers: torch.optim.NAdam(list(numbers), lr=lr, foreach=False))


def normalized(step_size: float | int = 0.006, low: float = 0.0, high: float = 1.0) -> Mover:
    """Gradient ascent with steps of a fixed mean length, x + step_size g / mean |g| per picture, clamped to [low, high].

    For raw pixels; mordvintsev2015inceptionism uses 1.5 / 255 per step.
    """
    return Mover(f"normalized({step_size:g})", lambda numbers: _Normalized(list(numbers), step_size, low, high))


class _Normalized(Optimizer):
    def __init__(self, numbers: list[Tensor], step_size: float, low: float, high: float) -> None:
        super().__init__(numbers, {"step_size": step_size, "low": low, "high": high})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for x in group["params"]:
                for row, gradient in zip(x, x.grad, strict=True):  # one picture at a time: a batch may add up in another order
                    mean = gradient.abs().mean()
                    row.sub_(group["step_size"] * gradient / torch.where(mean > 0, mean, 1))
                x.clamp_(group["low"], group["high"])


class _BoundedAdam(torch.optim.Adam):
    def __init__(self, numbers: list[Tensor], lr: float, low: float, high: float) -> None:
        super().__init__(numbers, lr=lr, foreach=False)
        self.bounds = low, high

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().step()
        for group in self.param_groups:
            for x in group["params"]:
                x.clamp_(*self.bounds)
