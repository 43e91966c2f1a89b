"""Chooses names on some pictures and judges them on the others: AUC, p-values corrected for all units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tapetum.engines.ranks import rank_sum_test
from tapetum.families.naming.formulas import best_formulas
from tapetum.families.naming.terms import CHOOSING, LEAST, Terms, choosing
from tapetum.families.verdicts.judging import holm
from tapetum.types import MethodError

HIGHEST = 9
"""Highest pictures that are looked at: so many examples an atlas shows."""


@dataclass(frozen=True, eq=False)
class Judged:
    """For each unit its best name, AUC, p-value corrected by Holm's method, the number of judging pictures of that name, and
    `shuffled`, the AUC by lot; highest: the share of its highest judging pictures that are of that name; iou: in place of it
    for masks, how well the unit's highest places cover them.
    """

    names: tuple[str, ...]
    auc: Tensor
    p_values: Tensor
    positives: Tensor
    shuffled: Tensor
    chosen_on: int
    judged_on: int
    terms: int
    highest: Tensor | None = None
    iou: Tensor | None = None


def judged(scores: Tensor, terms: Terms, ids: Sequence[str], *, length: int, seed: int) -> Judged:
    """Names units from a table of their scores on pictures (n, c).

    A third of the pictures chooses each unit's formula, the others judge it: one test per unit, whatever was tried, so that
    Holm's correction over units is enough. `shuffled` is the AUC of the same with the pictures' terms dealt out by lot.
    """
    choose = choosing(terms, ids, seed)
    common = terms.common(choose)
    if not common.names:
        raise MethodError(
            f"no label, group or text is true of {LEAST * CHOOSING} of the {len(ids)} pictures, and false of as many: give "
            "more pictures, or groups={'dog': ['pug', 'beagle']} of their labels"
        )
    usable = scores.isfinite().all(0)
    ready = torch.where(usable, scores, 0).double().cpu()
    names, auc, p, positives, highest = _named(ready, common, choose, length)
    lots = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
    shuffled = _named(ready, Terms(common.names, common.truth[lots]), choose, length)[1]
    count = int(choose.sum())
    return Judged(names, auc, p, positives, shuffled, count, len(ids) - count, len(common.names), highest)


def _named(scores: Tensor, terms: Terms, choose: Tensor, length: int) -> tuple[tuple[str, ...], Tensor, Tensor, Tensor, Tensor]:
    """Returns names, AUC, corrected p-values, positives and the shares of the highest pictures of all units."""
    formulas = best_formulas(scores[choose], terms.take(choose), length)
    judging = terms.take(~choose)
    truths = [one.truth(judging) for one in formulas]
    columns = list(zip(scores[~choose].T, truths, strict=True))
    tests = [rank_sum_test(column, truth) for column, truth in columns]
    highest = torch.tensor([share_of_highest(column, truth) for column, truth in columns], dtype=torch.float64)
    auc = torch.tensor([0.5 if math.isnan(one) else one for one, _ in tests], dtype=torch.float64)
    corrected = torch.tensor(holm([p for _, p in tests]), dtype=torch.float64)
    positives = torch.tensor([int(one.sum()) for one in truths])
    return tuple(one.words(terms) for one in formulas), auc, corrected, positives, highest


def share_of_highest(scores: Tensor, inside: Tensor) -> float:
    """Returns the share of the nine highest scores (n,) that are `inside` (n,), or of fewer, if there are no nine inside.

    Of scores that are equal to the last of them each counts by its chance to be among the nine. 0 where none is inside.
    """
    k = min(HIGHEST, int(inside.sum()))
    if k == 0:
        return 0.0
    last = scores.topk(k).values[-1]
    above, equal = scores > last, scores == last
    by_chance = (k - int(above.sum())) * float(inside[equal].double().mean())
    return (int((above & inside).sum()) + by_chance) / k
