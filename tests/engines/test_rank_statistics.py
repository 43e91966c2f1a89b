"""Ranks, tests of ranks and intervals are those of closed forms and of scipy."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from tapetum.engines.ranks import critical_difference, friedman, interval, range_quantile, ranked, resamples


def test_ranks_are_shared_by_equal_values_and_turn_with_the_direction() -> None:
    values = torch.tensor([[3.0, 1, 3, 2]])
    assert ranked(values, True).tolist() == [[1.5, 4, 1.5, 3]]
    assert ranked(values, False).tolist() == [[3.5, 1, 3.5, 2]]


@pytest.mark.parametrize(("n", "m"), [(12, 5), (30, 3), (6, 8)])
def test_friedman_with_ties_is_that_of_scipy(n: int, m: int) -> None:
    values = torch.randint(0, 4, (n, m), generator=torch.Generator().manual_seed(n)).double()
    expected = float(stats.friedmanchisquare(*values.T.numpy()).pvalue)
    assert friedman(ranked(values, True)) == pytest.approx(expected, rel=1e-9)


def test_friedman_says_nothing_where_nothing_differs() -> None:
    assert friedman(ranked(torch.ones(9, 4), True)) == 1
    assert friedman(ranked(torch.rand(1, 4), True)) == 1


@pytest.mark.parametrize("m", [2, 3, 7, 20])
def test_range_quantiles_are_those_of_scipy(m: int) -> None:
    assert range_quantile(m, 0.05) == pytest.approx(float(stats.studentized_range.isf(0.05, m, math.inf)), abs=1e-7)


def test_range_of_two_normal_numbers_is_a_half_normal_of_twice_the_variance() -> None:
    assert range_quantile(2, 0.05) == pytest.approx(math.sqrt(2) * float(stats.norm.isf(0.025)), abs=1e-8)


def test_critical_difference_is_that_of_demsars_example() -> None:
    # section 3.2.2 of the paper: four classifiers on 14 data sets, q = 2.569, CD = 1.25
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(4, 0) == math.inf


def test_interval_of_a_mean_is_as_wide_as_the_normal_one_and_the_same_again() -> None:
    values = torch.randn(400, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = interval(values, torch.ones_like(values), resamples(400, 1))
    half = 1.96 * values.std(0) / 20
    # the spread of 1000 resamples' 2.5 % points is some 7 % of the half width
    torch.testing.assert_close(found, torch.stack([values.mean(0) - half, values.mean(0) + half], 1), atol=0.015, rtol=0)
    assert torch.equal(found, interval(values, torch.ones_like(values), resamples(400, 1)))


def test_pictures_without_a_number_do_not_count() -> None:
    sums, counts = torch.tensor([[2.0], [0.0], [4.0]]), torch.tensor([[1], [0], [2]])
    assert interval(sums, counts, resamples(3, 0)).tolist() == [[2.0, 2.0]]  # 2 / 1 and 4 / 2; NaN where neither is drawn
