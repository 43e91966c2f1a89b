"""Results of the exam: which methods find a truth that is known, and which metrics tell it from random maps."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import Result, axes
from tapetum.types.text import table

PASS = 0.9
"""Least share of the pictures of a network that must come out right."""


@dataclass(frozen=True, eq=False)
class MethodExam(Result):
    """Marks of n methods on k networks whose true explanation is known.

    found      (n, k) in [0, 1]: share of the pictures where every place that counts stands above every other (and a place
               that speaks against below, in a signed map); NaN where the method refuses the network
    margin     (n, k) mean distance between these places, as a share of the map's largest place: 1 for the truth, 0 or less
               for a map that does not tell them apart
    mass       (n, k) in [0, 1]: share of the map's magnitude on the places that count, with the right sign
    chance     (k,) the largest mass that one of 99 random maps has, mean over pictures
    reduce     how each method's map is read: "sum" signed, "positive", "max_abs" magnitudes
    refusals   why a method has no marks, else ""
    n_pictures of each network
    """

    methods: tuple[str, ...] = field(metadata=axes("n"))
    networks: tuple[str, ...]
    found: Tensor = field(metadata=axes("n k"))
    margin: Tensor = field(metadata=axes("n k"))
    mass: Tensor = field(metadata=axes("n k"))
    chance: Tensor = field(metadata=axes("k"))
    reduce: tuple[str, ...] = field(metadata=axes("n"))
    refusals: tuple[str, ...] = field(metadata=axes("n"))
    n_pictures: int = 10
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> Tensor:
        """(n, k) bool: the truth is found in at least nine of ten pictures, and more of the map lies on it than by chance."""
        return (self.found >= PASS) & (self.mass > self.chance)

    def __str__(self) -> str:
        rows = [[name, *map(_marks, listed(found), listed(mass))] for name, found, mass in self._rows()]
        head = ["method", *self.networks]
        words = f"share of {self.n_pictures} pictures where the truth is found, and of the map on it"
        return f"{words}\n{table(head, rows)}"

    def _rows(self) -> list[tuple[str, Tensor, Tensor]]:
        return list(zip(self.methods, self.found, self.mass, strict=True))


@dataclass(frozen=True, eq=False)
class MetricExam(Result):
    """Marks of n metrics on k networks whose true explanation is known.

    wins      (n, k) in [0, 1]: share of the pictures where no other map has a better value than the true one, and maps of
              wrong places have a worse one; NaN where the metric refuses
    loses     (n, k) in [0, 1]: share of random maps that have a worse value than the true map of their picture
    rivals    (n, k) the kind of map that comes closest to the true one or beats it, "" where all are clearly worse
    refusals  why a metric has no marks, else ""
    """

    metrics: tuple[str, ...] = field(metadata=axes("n"))
    networks: tuple[str, ...]
    wins: Tensor = field(metadata=axes("n k"))
    loses: Tensor = field(metadata=axes("n k"))
    rivals: tuple[tuple[str, ...], ...] = field(metadata=axes("n"))
    refusals: tuple[str, ...] = field(metadata=axes("n"))
    n_pictures: int = 10
    notes: tuple[str, ...] = ()

    @property
    def each(self) -> Tensor:
        """(n, k) bool: on this network the true map wins, and random ones lose, in at least nine of ten cases."""
        return (self.wins >= PASS) & (self.loses >= PASS)

    @property
    def passed(self) -> Tensor:
        """(n,) bool: passed on every network."""
        return self.each.all(1)

    def __str__(self) -> str:
        rows = [
            [name, *map(_marks, listed(wins), listed(loses)), "yes" if passed else "no"]
            for name, wins, loses, passed in zip(self.metrics, self.wins, self.loses, listed(self.passed), strict=True)
        ]
        words = f"share of {self.n_pictures} pictures where the true map is the best, and of random maps that are worse"
        return f"{words}\n{table(['metric', *self.networks, 'passed'], rows)}"


def _marks(first: float, second: float) -> str:
    return "-" if first != first else f"{first:.1f} {second:.2f}"


def nan_marks(k: int) -> Tensor:
    """Returns the marks (k,) of what could not be examined."""
    return torch.full((k,), torch.nan, dtype=torch.float64)
