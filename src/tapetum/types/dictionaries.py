"""Concepts of a layer: directions with examples, how well they rebuild it, whether they come again, and what chance gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.types.models import ImagesLike, ModelLike
from tapetum.types.refusals import MethodError
from tapetum.types.results import PARTS, WHOLE, Result, axes, saved
from tapetum.types.scans import Example
from tapetum.types.targets import Concept
from tapetum.types.text import table

DictionaryMethod: TypeAlias = Literal["nmf", "pca", "ica", "kmeans", "sae", "matryoshka", "units"]
"""How directions are found: by factorisation, by clustering, by a sparse autoencoder; or the channels themselves."""

Code: TypeAlias = Literal["linear", "nonnegative", "nearest", "sparse"]
"""How a dictionary turns an activation into one number per concept."""

Estimate: TypeAlias = tuple[float, float, float]
"""A number, and the low and high end of its interval of 95 %."""

ImportanceMeasure: TypeAlias = Literal["gradient", "ablation", "sobol"]

BETTER, NO_BETTER = "better than random directions", "no better than random directions"
NOT_FITTED = "not fitted: single channels, to compare with"


@saved
@dataclass(frozen=True, eq=False)
class Dictionary:
    """n directions in the space of c channels, and the rule that turns an activation x (c,) into n numbers, its code z.

    directions  D (n, c), each of length 1
    offset      b (c,): an activation is rebuilt as b + z D
    code        linear: z = E (x - b); nonnegative: the z >= 0 that rebuilds x best; nearest: one number that is not zero, for
                the nearest of the points b + size_i D_i; sparse: the `active` largest of max(0, E (x - b) + bias)
    encoder     E (n, c); empty where a code has none
    bias        (n,) of a sparse code; of a nearest one the sizes
    """

    code: Code
    directions: Tensor
    offset: Tensor
    encoder: Tensor
    bias: Tensor
    active: int = 0

    def __len__(self) -> int:
        return len(self.directions)


@saved
@dataclass(frozen=True)
class DictionaryNumbers:
    """Numbers of a dictionary, each with its 95 % interval over draws of the pictures, on pictures that it was not fitted on.

    r2         share of the variance over places that is rebuilt; negative for a dictionary worse than the mean
    l0         mean share, over places, of the concepts whose code is not zero
    dead       share of the concepts whose code is zero at every place; with the least and the largest of six starts
    agreement  mean |cosine| of concepts with those of five refits, each with one partner, in [0, 1]
    """

    r2: Estimate
    l0: Estimate
    dead: Estimate
    agreement: Estimate

    def cells(self) -> list[str]:
        """Texts of the four numbers, for tables."""
        return [told(self.r2), told(self.l0), told(self.dead), told(self.agreement)]


def beyond_chance(mine: DictionaryNumbers, null: DictionaryNumbers, shuffled: Estimate) -> bool:
    """Returns whether the intervals of R2 and of agreement lie above those of random directions, and that of R2 above what the
    method reaches on shuffled channels.
    """
    return mine.r2[1] > max(null.r2[2], shuffled[2]) and mine.agreement[1] > null.agreement[2]


def told(estimate: Estimate) -> str:
    """Returns a number with its interval, such as "0.81 (0.78 to 0.84)"."""
    value, low, high = (f"{one:.2f}".replace("-0.00", "0.00") for one in estimate)
    return f"{value} ({low} to {high})"


@dataclass(frozen=True, eq=False)
class Concepts(Result):
    """k concepts of a layer; a row is a `tp.Concept`, which methods take as a target and `tp.visualize` as a unit.

    concepts     the directions, the strongest first (for "matryoshka" the coarsest); `directions` (k, c) has them all
    dictionary   how an activation is turned into k numbers, its code
    numbers      R2, L0, dead share and agreement of the dictionary; `r2`, `l0` and `dead` are the values alone
    null         the same numbers of frozen random directions with the same kind of code
    shuffled     R2 that the method reaches on the same activations with every channel shuffled by itself, with its interval;
                 None for single channels
    agreement    (k,) mean |cosine| of each concept with its partner in five refits, in [0, 1]
    importance   (k,) for the class, in units of its score ("sobol": share of variance), and `spread` (k, 2), its interval of
                 95 % over pictures; `measure` says which; None if it was not asked for
    examples     of each concept the pictures with its largest code ("kmeans": with the largest mean), best first;
                 `pictures` (k, m, 3, h, w) uint8 as the model saw them, smaller, and `maps` (k, m, rows, columns) of the code
                 at each place
    n            number of pictures that the places are from
    of           the class whose pictures were used; "" for all
    target       the score for which importance was measured, in words
    """

    layer: str
    method: DictionaryMethod
    concepts: tuple[Concept, ...] = field(metadata=PARTS)
    dictionary: Dictionary = field(repr=False)
    numbers: DictionaryNumbers
    null: DictionaryNumbers
    shuffled: Estimate | None
    agreement: Tensor = field(metadata=axes("k"))
    examples: tuple[tuple[Example, ...], ...] = field(repr=False)
    pictures: Tensor = field(metadata=axes("k m _ h w"))
    maps: Tensor = field(metadata=axes("k m _ _"))
    importance: Tensor | None = field(default=None, metadata=axes("k"))
    spread: Tensor | None = field(default=None, metadata=axes("k _"))
    measure: ImportanceMeasure | None = None
    model: str = ""
    data: str = ""
    n: int = 0
    of: str = ""
    target: str = ""
    notes: tuple[str, ...] = field(default=(), metadata=WHOLE)

    @property
    def directions(self) -> Tensor:
        """The directions (k, c), each of length 1."""
        return self.dictionary.directions

    @property
    def r2(self) -> float:
        return self.numbers.r2[0]

    @property
    def l0(self) -> float:
        return self.numbers.l0[0]

    @property
    def dead(self) -> float:
        return self.numbers.dead[0]

    @property
    def verdict(self) -> str:
        """Whether the dictionary is more than chance: its intervals of R2 and of agreement lie above those of random
        directions, and that of R2 above what the method finds in shuffled channels.
        """
        if self.shuffled is None:
            return NOT_FITTED
        return BETTER if beyond_chance(self.numbers, self.null, self.shuffled) else NO_BETTER

    def heatmaps(self, model: ModelLike, images: ImagesLike) -> Tensor:
        """Returns the code of each concept at each place of the layer, (n images, k concepts, rows, columns)."""
        return import_module("tapetum.families.dictionaries.maps").heatmaps(model, images, self)

    def recovery(self, directions: Tensor, *, level: float = 0.05, seed: int = 0) -> Recovery:
        """Returns how well the concepts match known directions (m, c), beside what random dictionaries would give."""
        if directions.ndim != 2 or directions.shape[1] != self.directions.shape[1] or not len(directions):
            raise MethodError(f"known directions are (m, {self.directions.shape[1]}), not {tuple(directions.shape)}")
        return import_module("tapetum.families.dictionaries.matching").recovery(self, directions, level, seed)

    def __str__(self) -> str:
        of = f" of {self.of}" if self.of else ""
        head = f"{len(self.concepts)} concepts of {self.layer} by {self.method}, {self.n} pictures{of}: {self.verdict}"
        rows = [("this dictionary", *self.numbers.cells()), ("random directions", *self.null.cells())]
        if self.shuffled is not None:
            rows.append(("channels shuffled", told(self.shuffled), "", "", ""))
        numbers = table(("", "R2", "L0 / n", "dead", "agreement"), rows)
        return "\n".join([head, numbers, self._lines(), *self.notes])

    def _lines(self) -> str:
        heads = (
            "concept",
            "agreement",
            *(() if self.importance is None else (f"{self.measure}, {self.target}",)),
            "best example",
        )
        rows: list[tuple[str, ...]] = []
        for i, one in enumerate(self.concepts):
            shares = () if self.importance is None else (f"{float(self.importance[i]):+.3g}",)
            best = self.examples[i][0].id if self.examples[i] else "none"
            rows.append((str(one), f"{float(self.agreement[i]):.2f}", *shares, best))
        return table(heads, rows)


@dataclass(frozen=True, eq=False)
class Recovery(Result):
    """How well concepts match n known directions, each with one partner.

    cosine   (n,) |cosine| with the partner;  partner (n,) its index, -1 where there are fewer concepts than directions
    chance   (n,) the |cosine| that a share `level` of random dictionaries of the same size reaches, matched in the same way
    p_value  (n,) share of 200 random dictionaries that reach the cosine, this one counted among them: 1 / 201 or more
    level    largest p-value of a direction that counts as found
    """

    cosine: Tensor = field(metadata=axes("n"))
    partner: Tensor = field(metadata=axes("n"))
    chance: Tensor = field(metadata=axes("n"))
    p_value: Tensor = field(metadata=axes("n"))
    level: float = 0.05

    @property
    def found(self) -> Tensor:
        """Mask (n,) of directions with a partner at |cosine| .8 or more and a p-value of at most `level`."""
        return (self.cosine >= ENOUGH) & (self.p_value <= self.level)

    def __str__(self) -> str:
        rows = [
            (str(i), f"{float(c):.2f}", str(int(p)), f"{float(h):.2f}", f"{float(v):.3f}", "found" if bool(f) else "not found")
            for i, (c, p, h, v, f) in enumerate(
                zip(self.cosine, self.partner, self.chance, self.p_value, self.found, strict=True)
            )
        ]
        return table(("direction", "|cosine|", "concept", "chance", "p", ""), rows)


ENOUGH = 0.8
"""Least |cosine| of a recovered direction."""


def empty(channels: int) -> Tensor:
    """Returns the encoder (0, c) of codes that have none."""
    return torch.zeros(0, channels, dtype=torch.float64)
