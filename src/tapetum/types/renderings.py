"""Pictures that were made: by optimisation, from units, photographs, or both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, SupportsIndex, TypeAlias

from torch import Tensor

from tapetum.types.checks import cut, rows_of

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

    def __getitem__(self, row: SupportsIndex | slice) -> Rendering:
        """One of the pictures, or several."""
        rows = rows_of(row, len(self), "picture")
        return replace(
            self,
            pixels=cut(self.pixels, rows),
            scores=cut(self.scores, rows),
            objectives=self.objectives[rows],
            status=self.status[rows],
            values=None if self.values is None else cut(self.values, rows, 1),
            frames=None if self.frames is None else cut(self.frames, rows, 1),
            layout=None,
            numbers={name: cut(values, rows) for name, values in self.numbers.items()},
        )

    def __iter__(self) -> Iterator[Rendering]:
        return (self[row] for row in range(len(self)))
