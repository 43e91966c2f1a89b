"""Pictures made by optimisation, for units or from photographs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isnan
from typing import Literal, TypeAlias

from torch import Tensor

from tapetum.types.results import WHOLE, Result, axes, saved
from tapetum.types.text import table

Made: TypeAlias = Literal["ok", "silent", "non_finite"]
"""Outcome of one picture: `ok`; "silent": no gradient reached it, so it is still the initial noise; NaN or infinity arose."""


@saved
@dataclass(frozen=True)
class PathCheck:
    """Whether a unit's picture and the photographs that drive the unit use the same channels before it.

    unit     the unit, such as "blocks.3:5"
    layer    of the layers before the unit, the one where the picture stands out most
    share    part of the picture's drive that runs through the same channels as that of the unit's photographs, in [0, 1]
    lowest, highest   the same for photographs that drive other units
    p_value  of a picture that is one of those photographs, corrected for all layers that were looked at
    flagged  whether the picture should not be read as what the unit looks for

    share, lowest, highest and p_value are NaN where no channel before the unit drives it, and nothing can be said.
    """

    unit: str
    layer: str
    share: float
    lowest: float
    highest: float
    p_value: float
    flagged: bool

    @property
    def said(self) -> str:
        """The check in a sentence, without the unit."""
        if isnan(self.share):
            return "no channel before the unit drives it, so its picture cannot be compared with photographs"
        seen = (
            f"{self.share:.0%} of its drive runs through the channels of {self.layer} that the unit's photographs use, "
            f"of photographs of other units {self.lowest:.0%} to {self.highest:.0%}"
        )
        if self.flagged:
            return f"the picture does not show what the unit looks for, it drives the unit by another path: only {seen}"
        return f"the picture drives the unit as photographs do: {seen}"

    def __str__(self) -> str:
        return f"{self.unit}: {self.said}"


@dataclass(frozen=True, eq=False)
class Rendering(Result):
    """Pictures made for objectives of a network.

    pixels      (n, 3, h, w) in [0, 1], (n, 4, h, w) with alpha
    scores      (n,) the objective of the finished pictures, without transforms
    objectives  objective of each picture, one text per picture
    status      one per picture; a picture that is not `ok` shows nothing of the network
    steps       the steps (from 1) at which values and frames were noted
    values      (s, n) the objective at those steps, of the pictures after the random transforms
    frames      (f, n, 3, h, w) the pictures on the way, at the steps of `frame_steps`; None if none were kept
    layout      (rows, columns) where the pictures belong on a grid, None for a plain row
    numbers     further measurements by name, (n, ...) each, with their meaning in the method's documentation
    checks      for each picture, whether it is driven like photographs; empty if that was not asked for
    """

    pixels: Tensor = field(metadata=axes("n c h w"))
    scores: Tensor = field(metadata=axes("n"))
    objectives: tuple[str, ...] = field(metadata=axes("n"))
    status: tuple[Made, ...] = field(metadata=axes("n"))
    method: str = ""
    steps: tuple[int, ...] = field(default=(), metadata=axes("s"))
    values: Tensor | None = field(default=None, metadata=axes("s n"))
    frames: Tensor | None = field(default=None, metadata=axes("f n _ _ _"))
    frame_steps: tuple[int, ...] = field(default=(), metadata=axes("f"))
    layout: tuple[int, int] | None = field(default=None, metadata=WHOLE)
    numbers: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor], metadata=axes("n ..."))
    notes: tuple[str, ...] = ()
    checks: tuple[PathCheck, ...] = field(default=(), metadata=axes("n"))

    def __str__(self) -> str:
        """Returns a table of each picture's objective, status and score."""
        sides = " x ".join(map(str, self.pixels.shape[1:]))
        rows = zip(self.objectives, self.status, (f"{float(one):.4g}" for one in self.scores), strict=True)
        head = f"{self.method or type(self).__name__}, pictures of {sides}"
        return "\n".join([head, table(("objective", "status", "score"), rows), *map(str, self.checks), *self.notes])
