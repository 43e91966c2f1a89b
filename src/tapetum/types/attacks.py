"""Attacks: pictures changed a little so that the answer changes, what that does inside a network, and what repairs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import isnan, nan
from statistics import median
from typing import Literal, TypeAlias

import torch
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


@dataclass(frozen=True, eq=False)
class Disturbance(Result):
    """What an attack changes inside a network, beside random changes of the same size; n images, l layers, s draws, t frames.

    change          (n, l) |a' - a| / |a| of each layer's activation a, over all its units and places
    noise           (n, s, l) the same of each random change
    switched        (n, l) share of a layer's values that are above 0 in one of the two pictures alone
    switched_noise  (n, s, l) the same of each random change
    units           {layer: (n, c)} |a'_c - a_c| / |a|; the squares of all units add up to that of `change`
    units_noise     {layer: (n, s, c)} the same of each random change
    frames          (n, t, 3, h, w) pictures from clean to attacked
    shares          (t,) share of the attack's change in each frame, from 0 to 1
    answers         the answer to each frame
    confidence      (n, t) its probability
    maps            {method: (n, t, h, w)} heatmaps of each frame's own answer
    kept            {method: (n,)} rank correlation of the attacked picture's map with the clean one's
    kept_noise      {method: (n, s)} the same of each random change
    largest         (n,) largest change of a pixel
    """

    model: str
    layers: tuple[str, ...]
    change: Tensor = field(metadata=axes("n _"))
    noise: Tensor = field(metadata=axes("n _ _"))
    switched: Tensor = field(metadata=axes("n _"))
    switched_noise: Tensor = field(metadata=axes("n _ _"))
    units: Mapping[str, Tensor] = field(metadata=axes("n _"))
    units_noise: Mapping[str, Tensor] = field(metadata=axes("n _ _"))
    frames: Tensor = field(metadata=axes("n _ _ _ _"))
    shares: tuple[float, ...]
    answers: tuple[tuple[str, ...], ...] = field(metadata=axes("n"))
    confidence: Tensor = field(metadata=axes("n _"))
    maps: Mapping[str, Tensor] = field(metadata=axes("n _ _ _"))
    kept: Mapping[str, Tensor] = field(metadata=axes("n"))
    kept_noise: Mapping[str, Tensor] = field(metadata=axes("n _"))
    largest: Tensor = field(metadata=axes("n"))
    notes: tuple[str, ...] = ()

    @property
    def ratio(self) -> Tensor:
        """How many times as much as by noise each layer changes (n, l): `change` over the mean of `noise`."""
        return self.change / self.noise.mean(1)

    @property
    def beyond(self) -> Tensor:
        """Share of each layer's units (n, l) that change more than in every random change; by chance 1 / (s + 1)."""
        found = [self.units[name] > self.units_noise[name].amax(1) for name in self.layers]
        return torch.stack([one.double().mean(1) for one in found], 1)

    def top_units(self, row: int = 0, k: int = 10) -> list[tuple[str, int, float, float]]:
        """Returns the k units of one image that change most beyond noise: (layer, channel, change, largest by noise)."""
        found = [
            (name, channel, one, most)
            for name in self.layers
            for channel, (one, most) in enumerate(
                zip(listed(self.units[name][row]), listed(self.units_noise[name][row].amax(0)), strict=True)
            )
        ]
        return sorted(found, key=lambda unit: unit[2] - unit[3], reverse=True)[:k]

    def __str__(self) -> str:
        head = ("layer", "change", "by noise", "times", "switched", "by noise", "units beyond noise")
        spread = self.noise.std(1, correction=0).mean(0)
        columns = zip(
            self.layers,
            *map(listed, (self.change.mean(0), self.noise.mean((0, 1)), spread, self.ratio.mean(0))),
            *map(listed, (self.switched.mean(0), self.switched_noise.mean((0, 1)), self.beyond.mean(0))),
            strict=True,
        )
        rows = [
            (name, f"{change:.3g}", f"{noise:.3g} ±{error:.1g}", f"{times:.2g}", f"{sides:.1%}", f"{others:.1%}", f"{far:.0%}")
            for name, change, noise, error, times, sides, others, far in columns
        ]
        said = [f"{one[0]} -> {one[-1]}" for one in self.answers[:5]]
        more = f" and {len(self.answers) - 5} more" if len(self.answers) > 5 else ""
        return "\n".join([f"{self.model}: {'; '.join(said)}{more}".lstrip(": "), table(head, rows), *self._maps_in_words()])

    def _maps_in_words(self) -> list[str]:
        return [
            f"{name}: rank correlation with the map of the clean picture {float(self.kept[name].nanmean()):.2f}, "
            f"by noise {float(self.kept_noise[name].nanmean()):.2f}"
            for name in self.kept
        ]


@dataclass(frozen=True, eq=False)
class ShortestRepair(Result):
    """Fewest units of a layer whose clean values bring the answer back; n images, l layers.

    counts    (n, l) how many units; 0 where nothing was to be repaired, -1 where all units of the layer do not bring it back
    units     the channels, in the order in which they were found, for each image and layer
    channels  number of channels of each layer
    random    (n, l) share of random sets of as many units that bring it back, too; NaN where there is no repair
    answers   the answer to each clean picture
    attacked  the answer to each attacked picture
    """

    model: str
    layers: tuple[str, ...]
    channels: tuple[int, ...]
    counts: Tensor = field(metadata=axes("n _"))
    units: tuple[tuple[tuple[int, ...], ...], ...] = field(metadata=axes("n"))
    random: Tensor = field(metadata=axes("n _"))
    answers: tuple[str, ...] = field(metadata=axes("n"))
    attacked: tuple[str, ...] = field(metadata=axes("n"))
    notes: tuple[str, ...] = ()

    @property
    def shortest(self) -> tuple[tuple[str, tuple[int, ...]] | None, ...]:
        """For each image the layer with the fewest units, and these; None where nothing was to be repaired, or could be."""
        return tuple(self._shortest(row) for row in range(len(self.units)))

    def _shortest(self, row: int) -> tuple[str, tuple[int, ...]] | None:
        known = [(len(units), i) for i, units in enumerate(self.units[row]) if units]
        return (self.layers[min(known)[1]], self.units[row][min(known)[1]]) if known else None

    @property
    def median(self) -> float:
        """Median over the images of the number of units of the shortest repair; NaN without any."""
        known = [float(len(one[1])) for one in self.shortest if one is not None]
        return median(known) if known else nan

    def __str__(self) -> str:
        head = ("layer", "repaired", "median units", "of", "random sets of as many that repair")
        rows = [self._row(i) for i in range(len(self.layers))]
        best = "" if isnan(self.median) else f"shortest repair: {self.median:g} units (median)"
        said = [f"{a} -> {b}" for a, b in zip(self.answers[:5], self.attacked[:5], strict=True)]
        return "\n".join([f"{self.model}: {'; '.join(said)}".lstrip(": "), table(head, rows), *([best] if best else [])])

    def _row(self, i: int) -> tuple[str, ...]:
        found, broken = self.counts[:, i], int((self.counts[:, i] != 0).sum())
        known = [float(one) for one in listed(found) if one > 0]
        chance = float(self.random[:, i].nanmean())
        middle = f"{median(known):g}" if known else "-"
        return (
            self.layers[i],
            f"{len(known)} of {broken}",
            middle,
            str(self.channels[i]),
            "-" if isnan(chance) else f"{chance:.0%}",
        )
