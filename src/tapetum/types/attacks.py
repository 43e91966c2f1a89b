"""Attacks: pictures that were changed a little so that the answer changes, and how often that works."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, TypeAlias

from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import Result, axes
from tapetum.types.text import table

Norm: TypeAlias = Literal["inf", "2"]
"""Size of a change of the pixels: "inf" is the largest of all values, "2" the root of the sum of their squares."""

LEVELS = 255
"""Grey levels of an 8-bit picture, above black."""


@dataclass(frozen=True, eq=False)
class Attack(Result):
    """Pictures changed within a budget, and the network's answers to them; n images, e budgets.

    pixels      (n, c, h, w) in [0, 1] after the attack with the largest budget, in the channels that the network takes
    clean       (n, c, h, w) in [0, 1] before it
    images      (n, c, h, w) the attacked pixels, model-ready: what `tp.predict(model, ...)` and every method take
    success     (n,) True where the attack with the largest budget reached its aim
    labels      the answer to each attacked picture
    before      the answer to each clean picture
    left        the class that each attack leads away from: the answer before it, or the truth that was given
    aim         the class that it leads to; None for any other class
    eps         the e budgets, from small to large; None: without limit
    norm        size that the budget limits: "inf", the largest change of a value, or "2", the root of the sum of squares
    reached     (n, e) True where the attack with that budget reached its aim
    loss        (n, e) -log p(class that is left), or log p(class that is aimed at): what the attack raises
    clean_loss  (n,) the same of the clean picture
    confidence  (n, 2) the probability of the answer before and after
    in_8_bits   (n,) True where the attack still succeeds when the pixels are rounded to 8 bits, as PNG files do
    """

    pixels: Tensor = field(metadata=axes("n c h w"))
    clean: Tensor = field(metadata=axes("n c h w"))
    images: Tensor = field(metadata=axes("n c h w"))
    success: Tensor = field(metadata=axes("n"))
    labels: tuple[str, ...] = field(metadata=axes("n"))
    before: tuple[str, ...] = field(metadata=axes("n"))
    left: tuple[str, ...] = field(metadata=axes("n"))
    aim: tuple[str | None, ...] = field(metadata=axes("n"))
    method: str
    eps: tuple[float | None, ...]
    norm: Norm
    reached: Tensor = field(metadata=axes("n e"))
    loss: Tensor = field(metadata=axes("n e"))
    clean_loss: Tensor = field(metadata=axes("n"))
    confidence: Tensor = field(metadata=axes("n _"))
    in_8_bits: Tensor = field(metadata=axes("n"))
    model: str = ""
    notes: tuple[str, ...] = ()

    @property
    def rate(self) -> Tensor:
        """Share of images (e,) whose attack reached its aim, for each budget."""
        return self.reached.double().mean(0)

    @property
    def largest(self) -> Tensor:
        """Largest change of a value (n,), in units of pixels."""
        return (self.pixels.double() - self.clean.double()).abs().flatten(1).amax(1)

    @property
    def length(self) -> Tensor:
        """Root of the sum of the squared changes (n,), in units of pixels."""
        return (self.pixels.double() - self.clean.double()).flatten(1).square().sum(1).sqrt()

    def __str__(self) -> str:
        sizes = zip(listed(self.largest), listed(self.length), strict=True)
        rows = [
            (before, after, f"{p:.2f}", f"{q:.2f}", "yes" if done else "no", f"{LEVELS * most:.3g}/{LEVELS}", f"{long:.3g}")
            for before, after, (p, q), done, (most, long) in zip(
                self.before, self.labels, listed(self.confidence), listed(self.success), sizes, strict=True
            )
        ]
        head = ("before", "after", "p before", "p after", "reached", "largest change", "length")
        kept = (
            f"{int(self.in_8_bits.sum())} of {int(self.success.sum())} successes are left when the pixels are rounded to 8 bits"
        )
        return "\n".join([f"{self.method} of {self.model}".removesuffix(" of "), table(head, rows), *self._rates(), kept])

    def _rates(self) -> list[str]:
        done = listed(self.reached.sum(0))
        return [
            f"{budget_in_words(eps, self.norm)}: {count} of {len(self.reached)} reached"
            for eps, count in zip(self.eps, done, strict=True)
        ]


def budget_in_words(eps: float | None, norm: Norm) -> str:
    """Writes a budget: "4/255 per value" for whole grey levels of the largest change, or "length 0.5"."""
    if eps is None:
        return "no limit"
    if norm == "2":
        return f"length {eps:g}"
    levels = Fraction(round(eps * LEVELS * 1000), 1000)
    return f"{float(levels):g}/{LEVELS} per value"
