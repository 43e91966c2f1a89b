"""Names of units: what the pictures on which a unit fires have in common, with the evidence for it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import WHOLE, Result, axes
from tapetum.types.text import table

NameSource: TypeAlias = Literal["labels", "texts", "masks"]
"""What names are made of: labels of pictures and their groups, texts, or masks of things in the pictures."""

SHOWN = 30
"""Names that `str` lists, the most accurate ones."""


@dataclass(frozen=True, eq=False)
class UnitNames(Result):
    """The name of each unit of a layer, or of each concept, chosen on a third of the pictures and judged on the others.

    units        (n,) indices of the channels; of concepts 0 to n - 1
    concepts     (n,) what the concepts are called; None where units are named
    names        (n,) "dog", "(dog OR fox) AND NOT hound"; None where no name stands: p_values > `level`, auc < `least_auc` or
                 highest < 2/3
    candidates   (n,) the best name of each unit, whether it stands or not
    auc          (n,) P(a picture of that name has a higher score than another) + half of P(equal), on the judging pictures; for
                 masks P(a place inside is higher than one outside), mean over the judging pictures
    p_values     (n,) probability of such an AUC without any relation, corrected for all units (Holm); for masks that of a sign
                 test: do maps fit their own masks better than those of other pictures?
    highest      (n,) share of the unit's nine highest judging pictures that are of that name, in [0, 1]; None for masks
    iou          (n,) intersection over union of the unit's highest places and the mask, in [0, 1]; None without masks
    positives    (n,) judging pictures of that name
    shuffled     (n,) the AUC that the same choice and judgement gives where the pictures' names are dealt out by lot; for masks
                 that with the mask of another picture
    source       "labels", "texts" or "masks"
    level        largest p-value of a name;  least_auc: least AUC (for masks also an iou of .04)
    chosen_on    number of choosing pictures;  judged_on: of judging ones
    terms        number of labels, groups, texts or masks from which names could be made
    skipped      {picture: why it could not be read}
    """

    layer: str
    units: tuple[int, ...] = field(metadata=axes("n"))
    names: tuple[str | None, ...] = field(metadata=axes("n"))
    candidates: tuple[str, ...] = field(metadata=axes("n"))
    auc: Tensor = field(metadata=axes("n"))
    p_values: Tensor = field(metadata=axes("n"))
    positives: Tensor = field(metadata=axes("n"))
    shuffled: Tensor = field(metadata=axes("n"))
    source: NameSource = "labels"
    level: float = 0.01
    least_auc: float = 0.75
    chosen_on: int = 0
    judged_on: int = 0
    terms: int = 0
    iou: Tensor | None = field(default=None, metadata=axes("n"))
    highest: Tensor | None = field(default=None, metadata=axes("n"))
    concepts: tuple[str, ...] | None = field(default=None, metadata=axes("n"))
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    model: str = ""
    data: str = ""
    notes: tuple[str, ...] = field(default=(), metadata=WHOLE)

    @property
    def named(self) -> tuple[int, ...]:
        """The units that have a name, the most accurate name first."""
        rows = [row for row, name in enumerate(self.names) if name is not None]
        return tuple(self.units[row] for row in sorted(rows, key=lambda row: -float(self.auc[row])))

    @property
    def kind(self) -> str:
        """What is named: "units" or "concepts"."""
        return "units" if self.concepts is None else "concepts"

    @property
    def share(self) -> float:
        """Share of the units that have a name, in [0, 1]."""
        return len(self.named) / max(1, len(self.units))

    def find(self, words: str) -> tuple[int, ...]:
        """Returns the units whose name has most of some words or their beginnings, "dog face": the most words first, then the
        most accurate name.
        """
        asked = words_of(words)
        found = [(share_of(asked, self.names[self.units.index(unit)] or ""), unit) for unit in self.named]
        return tuple(unit for hits, unit in sorted(found, key=lambda one: -one[0]) if hits)

    def __str__(self) -> str:
        """Says how many units have a name and how many chance would name, and lists the names with AUC and p-value."""
        rows = [self._line(self.units.index(unit)) for unit in self.named[:SHOWN]]
        head = (
            "unit" if self.concepts is None else "concept",
            "name",
            "AUC",
            "p",
            "IoU" if self.iou is not None else "highest",
        )
        return "\n".join([self.said(), *([table(head, rows)] if rows else []), *self.notes])

    def title(self, row: int) -> str:
        """Returns what a row is called besides its name: "layer:5", or the concept."""
        return f"{self.layer}:{self.units[row]}" if self.concepts is None else self.concepts[row]

    def _line(self, row: int) -> tuple[str, ...]:
        last = self.iou if self.iou is not None else self.highest
        return (
            self.title(row),
            self.names[row] or "",
            f"{float(self.auc[row]):.2f}",
            f"{float(self.p_values[row]):.1g}",
            "" if last is None else f"{float(last[row]):.2f}",
        )

    def said(self) -> str:
        """Returns in words how many units have a name, and what it takes to have one."""
        lot = sum(one >= self.least_auc for one in listed(self.shuffled))
        other = "names of the pictures dealt out by lot" if self.iou is None else "masks of other pictures"
        described = "" if self.highest is None else ", two thirds of the nine highest are of that name"
        return (
            f"{len(self.named)} of {len(self.units)} {self.kind} of {self.layer} have a name: AUC at least "
            f"{self.least_auc:.3g} on {self.judged_on} pictures that did not choose it{described}, and a chance of at most "
            f"{100 * self.level:g} % that any name is one by accident. With the {other}, {lot} reach that AUC, the best "
            f"{_best(self.shuffled)}."
        )


def _best(values: Tensor) -> str:
    numbers = [one for one in listed(values) if one == one]
    return f"{max(numbers):.2f}" if numbers else "none"


def words_of(name: str) -> set[str]:
    """Returns the words of a name in lower case, without those of terms behind "AND NOT"."""
    positive = re.sub(r" AND NOT .*?(?=\)| OR | AND |$)", "", name)
    return {word.casefold() for word in re.findall(r"(?:[^\W_]|['-])+", positive) if word not in ("OR", "AND")}


def share_of(asked: Collection[str], text: str) -> float:
    """Returns the share of some words, in [0, 1], with which a word of a name or label begins: how a search finds units."""
    words = words_of(text)
    return sum(any(word.startswith(one) for word in words) for one in asked) / max(1, len(asked))
