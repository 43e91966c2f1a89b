"""Base of parametrizations: the start of pictures, the optimised numbers, and the pictures that these define."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tapetum.engines.render.optimizers import Mover, adam
from tapetum.types import MethodError


@dataclass(frozen=True)
class Start:
    """Input of a parametrization for a batch of n pictures: their size (h, w), type, device and random numbers.

    variants   (n,) number of each picture within its group, which decides its noise: pictures of one objective start
               differently, those of different objectives alike, so a batch of B equals B single runs
    rows       (n,) index of each picture among all that are rendered, for parametrizations that start from given pictures
    channels   3, or the number of bands of the network
    """

    size: tuple[int, int]
    variants: tuple[int, ...] = (0,)
    rows: tuple[int, ...] = (0,)
    seed: int = 0
    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"
    channels: int = 3

    def in_colors(self, name: str) -> None:
        """Refuses a network without three colour channels; `name` is the parametrization that needs them."""
        if self.channels != 3:
            raise MethodError(f"{name} makes colours, and this network sees {self.channels} bands: use fourier or pixel")

    def __len__(self) -> int:
        return len(self.variants)

    def noise(self, *shape: int) -> Tensor:
        """Draws standard normal noise (n, *shape), the same for equal variants and on every device."""
        drawn: dict[int, Tensor] = {}
        for variant in set(self.variants):
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + variant)  # a prime, so that seeds do not collide
            drawn[variant] = torch.randn(shape, generator=generator, dtype=torch.float64)
        return torch.stack([drawn[variant] for variant in self.variants]).to(self.device, self.dtype)

    def of_rows(self, pictures: Tensor) -> Tensor:
        """Selects the given picture for each row of the batch, from pictures (N, c, h, w) for all rows, or (1, c, h, w) for
        any.
        """
        chosen = pictures.expand(len(self), -1, -1, -1) if len(pictures) == 1 else pictures[list(self.rows)]
        return chosen.to(self.device, self.dtype)


@dataclass(frozen=True, eq=False)
class Canvas:
    """Optimised numbers, and the pictures that they define.

    parameters   the optimised tensors; one whose first axis is n has a row per picture, any other is shared by all
    pixels       returns the pictures (n, 3, h, w) in [0, 1], or (n, 4, h, w) with alpha
    sized        draws the same pictures at another size (h, w), without resampling; None if the numbers depend on the size
    """

    parameters: tuple[Tensor, ...]
    pixels: Callable[[], Tensor]
    sized: Callable[[tuple[int, int]], Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Parametrization:
    """Parametrization of pictures: creates a canvas for a start, and names the optimizer that suits its numbers."""

    name: str
    begin: Callable[[Start], Canvas]
    mover: Mover = field(default_factory=adam)

    def __call__(self, start: Start) -> Canvas:
        canvas = self.begin(start)
        for parameter in canvas.parameters:
            parameter.requires_grad_(True)
        return canvas

    def __str__(self) -> str:
        return self.name
