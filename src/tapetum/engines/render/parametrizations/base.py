"""What a parametrization is: from where pictures start, to numbers that are optimised and the pictures that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tapetum.engines.render.optimizers import Mover, adam
from tapetum.types import MethodError


@dataclass(frozen=True)
class Start:
    """The pictures to begin: their size (h, w), number type, and which rows of the whole job they are.

    variants   for each picture its number within its group: pictures of one objective start differently, and pictures of
               different objectives alike, so a batch of B is what B single runs give
    rows       for each picture its place in the whole job, for parametrizations that begin with given pictures
    channels   three, or the bands of a network that sees many
    """

    size: tuple[int, int]
    variants: tuple[int, ...] = (0,)
    rows: tuple[int, ...] = (0,)
    seed: int = 0
    dtype: torch.dtype = torch.float32
    device: torch.device | str = "cpu"
    channels: int = 3

    def in_colors(self, name: str) -> None:
        """Refuses networks of many bands, for parametrizations that know of colours alone."""
        if self.channels != 3:
            raise MethodError(f"{name} makes colours, and this network sees {self.channels} bands: use fourier or pixel")

    def __len__(self) -> int:
        return len(self.variants)

    def noise(self, *shape: int) -> Tensor:
        """(n, *shape) of unit normal noise, drawn for each variant alone, the same on every device."""
        drawn = {variant: self._draw(variant, shape) for variant in set(self.variants)}
        return torch.stack([drawn[variant] for variant in self.variants]).to(self.device, self.dtype)

    def _draw(self, variant: int, shape: tuple[int, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + variant)  # a prime: seeds do not meet
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def of_rows(self, pictures: Tensor) -> Tensor:
        """Given pictures (1 or all, c, h, w): those of these rows."""
        chosen = pictures.expand(len(self), -1, -1, -1) if len(pictures) == 1 else pictures[list(self.rows)]
        return chosen.to(self.device, self.dtype)


@dataclass(frozen=True, eq=False)
class Canvas:
    """Numbers that are optimised, and the pictures (n, 3, h, w) in [0, 1] that they stand for now ((n, 4, h, w) with alpha).

    A parameter whose first axis is n belongs to the pictures one by one; any other is shared by all.

    sized   the same pictures at another size (h, w), drawn anew and not resampled; None where the size is part of the numbers
    """

    parameters: tuple[Tensor, ...]
    pixels: Callable[[], Tensor]
    sized: Callable[[tuple[int, int]], Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Parametrization:
    """A way to write a picture in numbers: it begins canvases, and knows the optimizer whose steps suit such numbers."""

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
