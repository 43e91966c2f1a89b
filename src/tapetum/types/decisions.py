"""What decisions for a class usually rest on, and whether others are usual for it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import WHOLE, Result, axes


@dataclass(frozen=True, eq=False)
class ClassPrototypes(Result):
    """Usual decisions for one class.

    index        of the class; label: its name
    centres      (k, c) prototypes: shares of the channels in the score, signed, whose sizes add up to 1
    spread       (c,) typical distance of a decision's shares from its prototype, per channel
    distances    (m,) distances of held-out decisions, from which the p-values are read
    examples     (k,) the pictures nearest to each prototype; `sizes` (k,) decisions that belong to each
    photographs  (k, 3, s, s) in [0, 1], the pictures nearest to each prototype, small
    power        share of the decisions for other classes that would be unusual for this one; NaN where there are none: where
                 it is small, "usual" says little
    """

    index: int
    label: str
    centres: Tensor
    spread: Tensor
    distances: Tensor
    examples: tuple[str, ...]
    sizes: tuple[int, ...]
    photographs: Tensor
    power: float = float("nan")
    level: float = 0.05

    def distance(self, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the distance (n,) of decisions (n, c) to their nearest prototype, and which one (n,)."""
        far = ((shares[:, None] - self.centres) / self.spread).square().mean(2).sqrt()
        nearest = far.min(1)
        return nearest.values, nearest.indices

    def p_values(self, distances: Tensor) -> Tensor:
        """Returns (1 + held-out decisions at least as far) / (1 + held-out decisions), (n,)."""
        return (1 + (self.distances >= distances[:, None]).sum(1)).double() / (1 + len(self.distances))

    @property
    def limit(self) -> float:
        """Distance beyond which a decision is unusual at the level; infinite where too few were held out for any to be."""
        return limit(self.distances, self.level)

    def __str__(self) -> str:
        parts = ", ".join(f"{name} ({size})" for name, size in zip(self.examples, self.sizes, strict=True))
        return (
            f"{self.label}: {len(self.centres)} prototypes, nearest pictures {parts}; {len(self.distances)} decisions held out"
        )


def can_be_unusual(held_out: int, level: float) -> bool:
    """Whether the least p-value of this number of held-out decisions is at most the level."""
    return int(level * (1 + held_out) + 1e-9) >= 1


def percent(share: float) -> str:
    """Writes a share as "35%"; "-" where there is none."""
    return f"{share:.0%}" if share == share else "-"


def limit(distances: Tensor, level: float) -> float:
    """Returns the held-out distance (of m) beyond which (1 + those at least as far) / (1 + m) is at most the level."""
    farther = int(level * (1 + len(distances)) + 1e-9) - 1  # how many held-out decisions may be as far
    if farther < 0:
        return float("inf")
    return float(distances.sort(descending=True).values[farther]) if farther < len(distances) else 0.0


@dataclass(frozen=True, eq=False)
class Decisions(Result):
    """Whether n decisions are usual for the class that the model chose.

    names        (n,) pictures
    labels       (n,) chosen classes
    p            (n,) share of the class's held-out decisions that are as far from its prototypes; NaN: the class has none
    distances    (n,) distance to the nearest prototype in units of the usual spread; `nearest` (n,) which one
    channels     (n, 5) channels that differ most, in those units: `differences` (n, 5), above 0: more than usual
    usual        (n, m) distances of the held-out decisions of the same class, NaN where it has fewer than m
    photographs  (n,) the picture, small, (3, s, s) in [0, 1]; None where it is not among the 24 least usual
    """

    names: tuple[str, ...] = field(metadata=axes("n"))
    labels: tuple[str, ...] = field(metadata=axes("n"))
    p: Tensor = field(metadata=axes("n"))
    distances: Tensor = field(metadata=axes("n"))
    nearest: Tensor = field(metadata=axes("n"))
    channels: Tensor = field(metadata=axes("n _"))
    differences: Tensor = field(metadata=axes("n _"))
    usual: Tensor = field(metadata=axes("n _"))
    photographs: tuple[Tensor | None, ...] = field(metadata=axes("n"))
    layer: str = ""
    level: float = 0.05
    model: str = ""
    notes: tuple[str, ...] = field(default=(), metadata=WHOLE)

    @property
    def unusual(self) -> tuple[bool, ...]:
        """Whether p is at most the level; never for a class without prototypes."""
        return tuple(one <= self.level for one in listed(self.p))

    def order(self) -> list[int]:
        """Returns the rows, the least usual first; those of classes without prototypes last."""
        keys = zip(listed(self.p.nan_to_num(nan=2.0)), listed(-self.distances.nan_to_num(nan=0.0)), strict=True)
        return [row for _, row in sorted((key, row) for row, key in enumerate(keys))]

    def held_out(self, row: int) -> Tensor:
        """Returns the distances (m,) of the held-out decisions of a row's class."""
        return self.usual[row][~torch.isnan(self.usual[row])]

    def __str__(self) -> str:
        return "\n".join(self._line(i) for i in range(len(self.names)))

    def _line(self, i: int) -> str:
        head, p = f"{self.names[i]}, {self.labels[i]}", float(self.p[i])
        if p != p:
            return f"{head}: too few decisions for this class were seen to say what is usual"
        pairs = zip(listed(self.channels[i]), listed(self.differences[i]), strict=True)
        told = ", ".join(f"{channel} ({value:+.1f})" for channel, value in pairs)
        return f"{head}: {self.words(i)}; channels of {self.layer} that differ most, in usual spreads: {told}"

    def words(self, i: int) -> str:
        """Says whether a decision is usual for its class: "unusual for its class (p = 0.024, ...)"."""
        held = self.held_out(i)
        farther = int((held < self.distances[i]).sum())
        verdict = "unusual for its class" if self.unusual[i] else "usual for its class"
        return f"{verdict} (p = {float(self.p[i]):.2g}, farther than {farther} of {len(held)} of its decisions)"
