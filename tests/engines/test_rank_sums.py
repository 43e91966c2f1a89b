"""The rank-sum test: AUC and p-values beside scipy's and beside all ways of dealing out the ranks, with and without ties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from tapetum.engines.ranks import EXACT, rank_sum_test


@pytest.mark.parametrize(("m", "n"), [(1, 6), (3, 40), (19, 120), (20, 120), (100, 119), (101, 120), (60, 333)])
def test_without_ties_auc_and_p_are_scipys(m: int, n: int) -> None:
    drawn = np.random.default_rng(m)
    scores = drawn.normal(size=n) + 0.8 * (np.arange(n) < m)
    auc, p = rank_sum_test(torch.tensor(scores), torch.arange(n) < m)
    method = "exact" if min(m, n - m) < EXACT else "asymptotic"
    theirs = mannwhitneyu(scores[:m], scores[m:], alternative="greater", method=method)
    assert auc == pytest.approx(theirs.statistic / (m * (n - m)))
    assert p == pytest.approx(theirs.pvalue, rel=1e-9)


def test_auc_counts_half_of_the_ties() -> None:
    auc, _ = rank_sum_test(torch.tensor([1.0, 2.0, 2.0, 0.0]), torch.tensor([False, True, False, False]))
    assert auc == (2 + 0.5) / 3


def test_no_way_of_ties_makes_p_too_small() -> None:
    """Exact: over all groups of three of eight pictures with many equal scores, p <= x for at most the share x of them."""
    for scores in ([0, 0, 0, 0, 0, 0, 1, 2], [0, 0, 0, 1, 1, 1, 1, 1], [0, 1, 2, 3, 4, 5, 6, 7]):
        found = []
        for group in itertools.combinations(range(8), 3):
            inside = torch.zeros(8, dtype=torch.bool)
            inside[list(group)] = True
            found.append(rank_sum_test(torch.tensor(scores), inside)[1])
        for x in found:
            assert sum(p <= x + 1e-12 for p in found) <= x * math.comb(8, 3) + 1e-9


def test_a_sparse_score_is_where_the_usual_correction_for_ties_is_too_small() -> None:
    """A score that is zero on 95 of 100 pictures; 20 of them lie in a group, by lot: how many of 4000 draws have p <= .0005."""
    scores = torch.cat([torch.zeros(95), torch.arange(1.0, 6.0)])
    order, ours, usual = np.random.default_rng(0), 0, 0
    for _ in range(4000):
        inside = torch.from_numpy(order.permutation(100) < 20)
        if not bool(inside[95:].sum() >= 3):  # fewer cannot be significant by either
            continue
        ours += rank_sum_test(scores, inside)[1] <= 0.0005
        usual += mannwhitneyu(scores[inside], scores[~inside], alternative="greater", method="asymptotic").pvalue <= 0.0005
    assert ours <= 2
    assert usual >= 8  # four times too many


def test_one_group_alone_has_no_auc() -> None:
    auc, p = rank_sum_test(torch.arange(3.0), torch.ones(3, dtype=torch.bool))
    assert math.isnan(auc)
    assert p == 1
