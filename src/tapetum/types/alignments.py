"""Likeness of the layers of two networks: a matrix of CKA with its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import Result, axes
from tapetum.types.text import table

WIDTH = 1.96
"""Standard errors to each side of a value that make its interval of 95 %."""


@dataclass(frozen=True, eq=False)
class LayerAlignment(Result):
    """CKA of n layers of network a with m layers of network b, on the same pictures.

    values    (n, m) linear CKA without bias: 1 for features that differ by a rotation and a scale, about 0 for unrelated ones
    errors    (n, m) jackknife standard errors over pictures
    layers    names of a's layers; `others`: those of b
    pictures  number of pictures
    cells     side of the grid of cells to which maps were averaged; 1: the mean over all places
    widths    numbers of features of each layer of a, and of b
    skipped   {name: why a picture was left out}
    """

    a: str
    b: str
    layers: tuple[str, ...] = field(metadata=axes("n"))
    others: tuple[str, ...]
    values: Tensor = field(metadata=axes("n _"))
    errors: Tensor = field(metadata=axes("n _"))
    pictures: int
    cells: int
    widths: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    data: str = ""
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()

    @property
    def interval(self) -> Tensor:
        """Interval of 95 % of each value, (n, m, 2), at most 1; NaN below five pictures."""
        return torch.stack([self.values - WIDTH * self.errors, (self.values + WIDTH * self.errors).clamp(max=1)], -1)

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Places (row, column) of layers of the same name; without any, of each layer of a with the most alike of b."""
        same = [(i, self.others.index(name)) for i, name in enumerate(self.layers) if name in self.others]
        return tuple(same or enumerate(listed(self.values.nan_to_num(nan=-9).argmax(1))))

    @property
    def pooled(self) -> str:
        """Says in words how maps became features."""
        return "channel means over all places" if self.cells == 1 else f"channel means in {self.cells} x {self.cells} cells"

    def __str__(self) -> str:
        head = (f"layer of {self.a or 'a'}", f"layer of {self.b or 'b'}", "CKA", "95 %")
        said = f"linear CKA without bias on {self.pictures} pictures; features: {self.pooled}"
        return f"{said}\n{table(head, [self._row(i, j) for i, j in self.pairs])}"

    def _row(self, i: int, j: int) -> tuple[str, ...]:
        low, high = listed(self.interval[i, j])
        span = f"{low:.3f} to {high:.3f}" if low == low else "-"
        return self.layers[i], self.others[j], f"{float(self.values[i, j]):.3f}", span
