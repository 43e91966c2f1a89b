"""Sparseness, complexity and effective complexity: closed forms, and edge cases that have a reason."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import tapetum as tp
from tapetum.types import Attribution, Reduce, Status

SIDE = 6
N = SIDE * SIDE


def maps(values: Tensor, reduce: Reduce = "sum", status: tuple[Status, ...] | None = None) -> Attribution:
    n = len(values)
    return Attribution(values[:, None].double(), "by_hand", status or ("ok",) * n, ("a",) * n, size=(SIDE, SIDE), reduce=reduce)


def pixels(m: int, value: float = 1.0) -> Tensor:
    """One map with m equal pixels, every other negative."""
    flat = torch.zeros(N)
    flat[:m] = value * (-1.0) ** torch.arange(m)
    return flat.view(1, SIDE, SIDE)


@pytest.mark.parametrize("m", [1, 2, 9, N])
@pytest.mark.parametrize("value", [1.0, 1e-30, -1e20])
def test_m_equal_pixels_have_gini_one_minus_m_over_n_and_entropy_ln_m(m: int, value: float) -> None:
    one = maps(pixels(m, value))
    assert tp.sparseness(one).value.item() == pytest.approx(1 - m / N, abs=1e-12)
    assert tp.complexity(one).value.item() == pytest.approx(math.log(m), abs=1e-12)
    assert tp.effective_complexity(one).value.item() == m


def test_gini_is_the_mean_difference_of_all_pairs_over_twice_the_mean() -> None:
    values = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sizes = values.abs().flatten(1)
    pairs = (sizes[:, :, None] - sizes[:, None]).abs().mean((1, 2))
    torch.testing.assert_close(tp.sparseness(maps(values)).value, pairs / (2 * sizes.mean(1)))


def test_a_ramp_has_a_gini_of_a_third() -> None:
    ramp = torch.arange(1.0, N + 1).view(1, SIDE, SIDE)
    assert tp.sparseness(maps(ramp)).value.item() == pytest.approx((N - 1) / (3 * N))  # sum (2i - N - 1) i = N (N^2 - 1) / 6


def test_effective_complexity_counts_pixels_above_a_share_of_the_largest() -> None:
    values = torch.tensor([8.0, -4.0, 2.0, 1.0, *[0.0] * (N - 4)]).view(1, SIDE, SIDE)
    counts = [tp.effective_complexity(maps(values), least=least).value.item() for least in (0.0, 0.2, 0.25, 0.4, 1.0)]
    assert counts == [4, 3, 2, 2, 0]  # above, not at least


def test_only_what_the_heatmap_shows_counts() -> None:
    values = torch.tensor([1.0, -9.0, *[0.0] * (N - 2)]).view(1, SIDE, SIDE)
    assert tp.effective_complexity(maps(values)).value.item() == 2
    assert tp.effective_complexity(maps(values, reduce="positive")).value.item() == 1


@pytest.mark.parametrize("metric", ["sparseness", "complexity", "effective_complexity"])
def test_maps_without_a_form_have_a_reason(metric: str) -> None:
    bad = pixels(3)
    bad[0, 2, 2] = torch.nan
    values = torch.cat([pixels(3), pixels(0), torch.full((1, SIDE, SIDE), 2.0), bad])
    found = getattr(tp, metric)(maps(values, status=("ok", "constant", "constant", "non_finite")))
    assert found.status == ("ok", "zero", "ok", "non_finite")
    assert found.value.isnan().tolist() == [False, True, False, True]
    negative = getattr(tp, metric)(maps(-values[2:3], reduce="positive", status=("no_positive_evidence",)))
    assert negative.status == ("no_positive_evidence",)
    assert negative.value.isnan().all()
