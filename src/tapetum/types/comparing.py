"""Two networks side by side: what changed in answers, maps and layers, and whether that is more than another seed changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.types.alignments import LayerAlignment
from tapetum.types.checks import listed
from tapetum.types.results import WHOLE, Result, axes, saved
from tapetum.types.text import table

Outcome: TypeAlias = Literal["better", "worse", "neither", "unknown"]
"""Whether a changed prediction is right now, was right before, neither, or the true class is not known."""

Network: TypeAlias = Literal["a", "b"]

UNUSUAL = 0.2
"""Largest p-value of a group that is printed."""

FEW = 10
"""Number of changed predictions that are printed."""


@saved
@dataclass(frozen=True)
class ChangedPrediction:
    """One picture that the two networks call differently, with the probability that each gives its own class."""

    picture: str
    before: str
    after: str
    before_probability: float
    after_probability: float
    truth: str | None
    outcome: Outcome


@saved
@dataclass(frozen=True)
class SplitGroup:
    """Pictures that one network keeps together and the other does not.

    near, far  mean place of each picture among the others of the group, in the keeper and in the other network: the share of
               all pictures that are nearer, 0.5 on average for pictures that have nothing in common
    p_value    of a group as split as this between networks of other seeds; None without such networks
    """

    keeper: Network
    pictures: tuple[str, ...]
    near: float
    far: float
    p_value: float | None

    @property
    def apart(self) -> float:
        return self.far - self.near


@saved
@dataclass(frozen=True, eq=False)
class UnitMatches:
    """Units of a layer of a, each with its own partner at a layer of b, matched by correlation over pictures.

    pairs         (m, 2) unit of a and unit of b
    correlations  (m,) of their mean activations over the pictures
    chance        correlation that one pair of twenty exceeds when the pictures of b are shuffled, and then matched
    """

    layer: str
    other: str
    pairs: Tensor
    correlations: Tensor
    chance: float

    @property
    def matched(self) -> int:
        """Number of pairs beyond chance."""
        return int((self.correlations > self.chance).sum())

    def __str__(self) -> str:
        middle = float(self.correlations.median())
        return (
            f"{self.matched} of {len(self.correlations)} units of {self.layer} have a partner at {self.other} beyond chance "
            f"(r > {self.chance:.2f}); the median correlation is {middle:.2f}"
        )


@saved
@dataclass(frozen=True)
class SeedNull:
    """Agreement among networks that differ by their seed alone, and the bar that it sets.

    kind      "given": checkpoints of the user; "heads": last layers trained anew on a's features; "trained": networks of a's
              architecture trained on half of the pictures, and agreement measured on the other half
    networks  names, the reference first where it is one of them
    values    mean agreement of each with the others
    measured  mean agreement of b with all of them (of a with b for "heads" and "trained")
    bar       below it another seed falls with the probability `level`: mean - t sd sqrt(1 + 1 / m), Student's t
    p_value   of an agreement as low as `measured` for another seed
    level     share of false alarms that the bar allows
    """

    kind: Literal["given", "heads", "trained"]
    networks: tuple[str, ...]
    values: tuple[float, ...]
    measured: float
    bar: float
    p_value: float
    level: float

    @property
    def words(self) -> str:
        what = {
            "given": f"{len(self.networks)} networks of the same recipe",
            "heads": f"{len(self.networks)} last layers trained anew on a's features",
            "trained": f"{len(self.networks)} networks of a's architecture trained on half of the pictures",
        }[self.kind]
        low, high = min(self.values), max(self.values)
        return f"{what} agree by {low:.3f} to {high:.3f}; bar {self.bar:.3f} (false alarms: {self.level:.0%} by Student's t)"


@dataclass(frozen=True, eq=False)
class Comparison(Result):
    """n pictures as two networks see them.

    a, b          names of the networks
    pictures      (n,) names, and `truths` (n,): their classes, None where unknown
    answers       (n, 2) class that each network predicts; empty texts where a network gives no classes
    probabilities (n, 2) of these classes
    agreement     (n,) Spearman's correlation of both networks' maps of the class that a predicts, over cells of the photograph
                  that both see; NaN where a network has no map of it
    changed       pictures with another prediction
    cka           likeness of the layers
    units         units of the deepest layer of a, matched with those of b
    groups        pictures that one network keeps together and the other does not, the most split first
    null          agreement of other seeds, and its bar; None: not asked for
    bar           least agreement that was asked for, or that of the null
    method        method of the maps, and `layers`: those of a and b at which it works
    maps          (k, 2, h, w) both networks' maps of some pictures, on the whole photograph, NaN outside a network's view
    photographs   (k, 3, s, s) these photographs, squashed to a square
    shown         (k,) rows of these pictures: changed ones first, then those with the lowest agreement
    """

    a: str
    b: str
    pictures: tuple[str, ...] = field(metadata=axes("n"))
    truths: tuple[str | None, ...] = field(metadata=axes("n"))
    answers: tuple[tuple[str, str], ...] = field(metadata=axes("n"))
    probabilities: Tensor = field(metadata=axes("n _"))
    agreement: Tensor = field(metadata=axes("n"))
    cka: LayerAlignment
    units: UnitMatches
    changed: tuple[ChangedPrediction, ...] = field(default=(), metadata=WHOLE)
    groups: tuple[SplitGroup, ...] = field(default=(), metadata=WHOLE)
    null: SeedNull | None = field(default=None, metadata=WHOLE)
    bar: float | None = field(default=None, metadata=WHOLE)
    method: str = "grad_cam"
    layers: tuple[str | None, str | None] = (None, None)
    maps: Tensor = field(default_factory=lambda: torch.zeros(0, 2, 1, 1), metadata=WHOLE)
    photographs: Tensor = field(default_factory=lambda: torch.zeros(0, 3, 1, 1), metadata=WHOLE)
    shown: tuple[int, ...] = field(default=(), metadata=WHOLE)
    data: str = ""
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = field(default=(), metadata=WHOLE)

    @property
    def mean_agreement(self) -> float:
        """Mean agreement over the pictures with maps by both networks; NaN if there is none."""
        return float(self.agreement.nanmean())

    @property
    def measured(self) -> float:
        """The agreement that is compared with the bar: with the reference and its other seeds, or else with a alone."""
        return self.mean_agreement if self.null is None else self.null.measured

    @property
    def accuracy(self) -> tuple[float, float] | None:
        """Share of the pictures with a known class that each network gets right; None where no class is known."""
        known = [(pair, truth) for pair, truth in zip(self.answers, self.truths, strict=True) if truth is not None and pair[0]]
        if not known:
            return None
        right = [sum(pair[i].casefold() == truth.casefold() for pair, truth in known) / len(known) for i in (0, 1)]
        return right[0], right[1]

    @property
    def below(self) -> bool | None:
        """Whether the agreement is below the bar; None without a bar that could be failed, or without an agreement."""
        return None if self.bar is None or self.bar <= -1 or math.isnan(self.measured) else self.measured < self.bar

    @property
    def telling_groups(self) -> tuple[SplitGroup, ...]:
        """The groups that are worth a look: without a p-value, or more split than four of five pairs of other seeds."""
        return tuple(one for one in self.groups if one.p_value is None or one.p_value <= UNUSUAL)

    @property
    def verdict(self) -> str:
        """What follows, in words."""
        return " ".join(part for part in (self._on_maps(), self._on_answers(), self._on_groups()) if part)

    def _on_maps(self) -> str:
        if math.isnan(self.mean_agreement):
            return "The maps cannot be compared: no picture has a map by both networks."
        if self.null is not None and self.null.bar <= -1:
            return "Networks of other seeds agree so little that nothing can be said of the maps."
        where = f"{self.b} looks elsewhere than {self.a}" if self.below else f"{self.b} looks where {self.a} looks"
        if self.null is not None:
            p, told = f"p = {self.null.p_value:.2g}", f"agreement {self.measured:.3f}, bar {self.null.bar:.3f}"
            tail = "more than another seed explains" if self.below else "as far as other seeds do"
            return f"{where}, {tail} ({told}, {p})."
        if self.bar is not None:
            return f"{where}, by the bar that was given ({self.measured:.3f}, bar {self.bar:.3f})."
        return (
            f"The maps agree by {self.mean_agreement:.3f} on average; whether that is less than another seed changes cannot be "
            "said without networks of other seeds (null=...)."
        )

    def _on_answers(self) -> str:
        n = len(self.pictures)
        if not n or not self.answers[0][0]:
            return ""
        counts = {kind: sum(one.outcome == kind for one in self.changed) for kind in ("better", "worse")}
        known = (
            ""
            if self.accuracy is None or not self.changed
            else f", {counts['better']} to the right class and {counts['worse']} away from it"
        )
        return f"{len(self.changed)} of {n} predictions changed{known}."

    def _on_groups(self) -> str:
        sure = [one for one in self.groups if one.p_value is not None and one.p_value < 0.05]
        if not sure:
            return ""
        first = sure[0]
        keeper, other = (self.a, self.b) if first.keeper == "a" else (self.b, self.a)
        return f"{keeper} keeps {len(first.pictures)} pictures together that {other} does not (p = {first.p_value:.2g})."

    def __str__(self) -> str:
        lost = f", {len(self.skipped)} skipped" if self.skipped else ""
        lines = [f"{self.a} and {self.b} on {len(self.pictures)} pictures of {self.data}{lost}", self.verdict]
        if self.null is not None:
            lines.append(self.null.words)
        if self.accuracy is not None:
            lines.append(f"right: {self.accuracy[0]:.1%} of the pictures by {self.a}, {self.accuracy[1]:.1%} by {self.b}")
        if self.changed:
            head = ("picture", "before", "after", "truth", "")
            rows = [(one.picture, *_told(one), one.truth or "-", one.outcome) for one in self.changed[:FEW]]
            more = len(self.changed) - len(rows)
            lines += ["", table(head, rows)] + ([f"and {more} more"] if more else [])
        return "\n".join([*lines, "", str(self.cka), str(self.units), *self._group_lines()])

    def _group_lines(self) -> list[str]:
        found: list[str] = []
        for one in self.telling_groups:
            keeper, other = (self.a, self.b) if one.keeper == "a" else (self.b, self.a)
            names = ", ".join(one.pictures[:4]) + (", ..." if len(one.pictures) > 4 else "")
            p = "" if one.p_value is None else f", p = {one.p_value:.2g}"
            found.append(f"kept together by {keeper} ({one.near:.2f}), not by {other} ({one.far:.2f}){p}: {names}")
        return found

    def order(self) -> list[int]:
        """Returns the rows from the lowest agreement to the highest; those without one come last."""
        return listed(self.agreement.nan_to_num(nan=9).argsort(stable=True))


def _told(one: ChangedPrediction) -> tuple[str, str]:
    return f"{one.before} {one.before_probability:.2f}", f"{one.after} {one.after_probability:.2f}"
