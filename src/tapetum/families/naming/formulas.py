"""Formulas of terms, A OR B, A AND B, A AND NOT B, and the search for the one that fits a unit's scores best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tapetum.engines.ranks import auc_of_ranks
from tapetum.engines.similarity import ranks
from tapetum.families.naming.terms import LEAST, Terms

Joint = Literal["OR", "AND", "AND NOT"]
JOINTS: tuple[Joint, ...] = ("OR", "AND", "AND NOT")

BEAM = 5
"""Formulas of each length that longer ones are made of."""

ERRORS = 2.0
"""A formula is valued by its AUC less so many standard errors of an AUC without any relation: rare terms must fit better."""

WORTH = 0.02
"""What each further term must add to the AUC: a short name is the better one."""

AT_ONCE = 64
"""Units that are searched at once."""

NEVER = -1e9


@dataclass(frozen=True)
class Formula:
    """Terms joined from left to right: ((A joint B) joint C)."""

    first: int
    rest: tuple[tuple[Joint, int], ...] = ()

    def truth(self, terms: Terms) -> Tensor:
        """Returns of which pictures (n,) the formula is true."""
        found = terms.truth[:, self.first]
        for joint, term in self.rest:
            found = joined(joint, found, terms.truth[:, term])
        return found

    def words(self, terms: Terms) -> str:
        found, last = terms.names[self.first], None
        for joint, term in self.rest:
            found = found if last in (None, joint) else f"({found})"
            found, last = f"{found} {joint} {terms.names[term]}", joint
        return found


def joined(joint: Joint, a: Tensor, b: Tensor) -> Tensor:
    return a | b if joint == "OR" else a & (b if joint == "AND" else ~b)


def best_formulas(scores: Tensor, terms: Terms, length: int) -> list[Formula]:
    """Returns for each unit the formula of at most `length` terms that fits its scores (n, c) best, by a beam search.

    Each step joins the best formulas so far with every term; the value of a formula is its AUC - 2 sqrt((n + 1) / (12 m (n -
    m))), m of the n pictures being its own.
    """
    order = ranks(scores.T)
    return [
        found
        for start in range(0, len(order), AT_ONCE)
        for found in _Search(order[start : start + AT_ONCE], terms).best(length)
    ]


class _Search:
    """A beam search for several units at once, from their ranks (u, n)."""

    def __init__(self, order: Tensor, terms: Terms) -> None:
        self.order, self.terms, self.truth = order, terms, terms.truth.double()
        self.sums = (order @ self.truth)[:, None]  # (u, 1, t)
        self.sizes = self.truth.sum(0)

    def best(self, length: int) -> list[Formula]:
        auc, value = self._fit(self.sums, self.sizes)
        values, which = value[:, 0].topk(min(BEAM, len(self.sizes)), 1)
        beam = [[Formula(term) for term in row] for row in which.tolist()]
        found, best, reached = [row[0] for row in beam], values[:, 0], auc[:, 0].gather(1, which[:, :1])[:, 0]
        for _ in range(1, length):
            beam, values, aucs = self._longer(beam)
            better = (values > best) & (aucs > reached + WORTH)
            found = [longer[0] if wins else one for longer, wins, one in zip(beam, better.tolist(), found, strict=True)]
            best, reached = torch.where(better, values, best), torch.where(better, aucs, reached + WORTH)
        return found

    def _fit(self, sums: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Returns AUC and value of formulas from the sums of their pictures' ranks, and their numbers of pictures."""
        n = self.order.shape[1]
        m = sizes.clamp(1, n - 1)
        auc = auc_of_ranks(sums, m, n)
        value = auc - ERRORS * ((n + 1) / (12 * m * (n - m))).sqrt()
        return auc, value.masked_fill((sizes < LEAST) | (sizes > n - LEAST), NEVER)

    def _longer(self, beam: list[list[Formula]]) -> tuple[list[list[Formula]], Tensor, Tensor]:
        """Returns the best formulas with one more term than those of the beam, and value and AUC of each unit's best one."""
        masks = torch.stack([torch.stack([one.truth(self.terms) for one in row]) for row in beam]).double()  # (u, b, n)
        inside = masks * self.order[:, None]
        own_sums, own_sizes = inside.sum(2, keepdim=True), masks.sum(2, keepdim=True)
        both_sums, both_sizes = inside @ self.truth, masks @ self.truth
        sums = [own_sums + self.sums - both_sums, both_sums, own_sums - both_sums]  # of OR, AND, AND NOT
        sizes = [own_sizes + self.sizes - both_sizes, both_sizes, own_sizes - both_sizes]
        auc, value = self._fit(torch.stack(sums, 2), torch.stack(sizes, 2))  # (u, b, joints, t)
        best, places = value.flatten(1).topk(min(4 * BEAM, value[0].numel()), 1)
        found = [self._different(row, one.tolist()) for row, one in zip(beam, places, strict=True)]
        return found, best[:, 0], auc.flatten(1).gather(1, places[:, :1])[:, 0]

    def _different(self, row: list[Formula], places: list[int]) -> list[Formula]:
        """Returns the first formulas that are true of different pictures: "A OR B" is "B OR A"."""
        count = len(self.terms.names)
        found: dict[bytes, Formula] = {}
        for place in places:
            of, joint, term = place // (3 * count), place // count % 3, place % count
            one = Formula(row[of].first, (*row[of].rest, (JOINTS[joint], term)))
            found.setdefault(one.truth(self.terms).numpy().tobytes(), one)
        many = list(found.values())[:BEAM]
        return many + many[-1:] * (BEAM - len(many))
