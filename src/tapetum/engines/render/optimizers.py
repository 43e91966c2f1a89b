"""Optimizers: how the numbers of a canvas move. Each works element by element, so pictures do not touch each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer


@dataclass(frozen=True, eq=False)
class Mover:
    """Makes an optimizer for the numbers of a canvas."""

    name: str
    begin: Callable[[Sequence[Tensor]], Optimizer]

    def __str__(self) -> str:
        return self.name


def adam(lr: float | int = 0.05) -> Mover:
    """Adam (kingma2015adam); .05 is what olah2017feature uses."""
    return Mover(f"adam({lr:g})", lambda numbers: torch.optim.Adam(list(numbers), lr=lr, foreach=False))


def nadam(lr: float | int = 1.0) -> Mover:
    """Adam with Nesterov's momentum; fel2023maco uses a rate of 1 for phases."""
    return Mover(f"nadam({lr:g})", lambda numbers: torch.optim.NAdam(list(numbers), lr=lr, foreach=False))


def sgd(lr: float | int = 1.0, momentum: float | int = 0.0) -> Mover:
    """Plain gradient ascent."""
    return Mover(f"sgd({lr:g})", lambda numbers: torch.optim.SGD(list(numbers), lr=lr, momentum=momentum, foreach=False))
