"""Pictures that were made: by optimisation, from units, photographs, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from torch import Tensor

Made: TypeAlias = Literal["ok", "silent", "non_finite"]
"""What became of one picture: `ok`; no gradient ever reached it, so it is the noise it began as; NaN or infinity came up."""


@dataclass(frozen=True, eq=False)
class Rendering:
    """Pictures that a network was asked for.

    pixels      (n, 3, h, w) in [0, 1], (n, 4, h, w) with alpha
    scores      (n,) the objective of the finished pictures as they are, without transforms
    objectives  what each picture was made for, one text per picture
    status      one per picture; a picture that is not `ok` shows nothing of the network
    steps       the steps (from 1) at which values and frames were noted
    values      (s, n) the objective at those steps, of the pictures as the transforms showed them
    frames      (f, n, 3, h, w) the pictures on the way, at the steps of `frame_steps`; None if none were kept
    layout      (rows, columns) where the pictures belong on a grid, None for a plain row
    numbers     further measurements by name, (n, ...) each, with their meaning in the method's documentation
    """

    pixels: Tensor
    scores: Tensor
    objectives: tuple[str, ...]
    status: tuple[Made, ...]
    method: str = ""
    steps: tuple[int, ...] = ()
    values: Tensor | None = None
    frames: Tensor | None = None
    frame_steps: tuple[int, ...] = ()
    layout: tuple[int, int] | None = None
    numbers: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, row: int | slice) -> Rendering:
        """One of the pictures, or several."""
        rows = row if isinstance(row, slice) else slice(row, row + 1) if row != -1 else slice(row, None)
        return replace(
            self,
            pixels=self.pixels[rows],
            scores=self.scores[rows],
            objectives=self.objectives[rows],
            status=self.status[rows],
            values=None if self.values is None else self.values[:, rows],
            frames=None if self.frames is None else self.frames[:, rows],
            layout=None,
            numbers={name: values[rows] for name, values in self.numbers.items()},
        )
