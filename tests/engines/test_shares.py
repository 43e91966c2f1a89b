"""Shares: their interval and the sign test, against SciPy."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import binomtest

from tapetum.engines.shares import sign_test, wilson


@pytest.mark.parametrize(("count", "n"), [(0, 5), (3, 7), (48, 50), (20, 20)])
def test_the_interval_of_a_share_is_wilsons(count: int, n: int) -> None:
    known = binomtest(count, n).proportion_ci(method="wilson")
    low, high = wilson(torch.tensor([count, 1], dtype=torch.float64) / n, n)
    assert (float(low[0]), float(high[0])) == pytest.approx((known.low, known.high), abs=1e-5)


@pytest.mark.parametrize(("won", "n"), [(0, 4), (8, 8), (9, 12), (0, 0)])
def test_the_sign_test_counts_how_often_lots_win_as_many_pairs(won: int, n: int) -> None:
    assert sign_test(won, n) == pytest.approx(binomtest(won, n, alternative="greater").pvalue if n else 1.0)
