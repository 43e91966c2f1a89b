"""Similarity of maps: rank correlation as scipy computes it, SSIM as scikit-image does."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import rankdata, spearmanr
from skimage.metrics import structural_similarity

from tapetum.engines.similarity import correlation, rank_correlation, ranks, ssim


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_ranks_of_equal_values_are_their_mean() -> None:
    assert ranks(torch.tensor([[3.0, 1.0, 3.0, 2.0]])).tolist() == [[2.5, 0.0, 2.5, 1.0]]
    coarse = (noise(4, 300) * 20).floor()
    assert torch.equal(ranks(coarse) + 1, torch.tensor(rankdata(coarse.numpy(), axis=1)))


def test_rank_correlation_is_scipys_also_with_ties() -> None:
    a, b = (noise(5, 9, 11, seed=seed) for seed in (0, 1))
    for one, other in ((a, a + 0.3 * b), ((a * 6).floor(), (b * 6).floor() + (a * 3).floor())):
        expected = [spearmanr(x.flatten(), y.flatten())[0] for x, y in zip(one.numpy(), other.numpy(), strict=True)]
        torch.testing.assert_close(rank_correlation(one, other), torch.tensor(expected))


def test_rank_correlation_sees_the_order_alone() -> None:
    a = noise(2, 8, 8)
    assert torch.equal(rank_correlation(a, a.exp()), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(rank_correlation(a, -a), -torch.ones(2, dtype=torch.float64))


def test_a_constant_or_broken_map_has_no_correlation() -> None:
    a, flat, broken = noise(1, 4, 4), torch.ones(1, 4, 4), noise(1, 4, 4).index_fill(1, torch.tensor([2]), torch.nan)
    assert rank_correlation(a, flat).isnan()
    assert rank_correlation(broken, a).isnan()
    assert rank_correlation(a, broken).isnan()
    assert correlation(flat.flatten(1), a.flatten(1)).isnan()


@pytest.mark.parametrize("side", [64, 9, 6, 3])
def test_ssim_is_that_of_scikit_image(side: int) -> None:
    a, b = noise(2, 3, side, side + 5), noise(2, 3, side, side + 5, seed=1)
    window = min(7, side - 1 + side % 2)
    for other in (b, 0.7 * a + 0.3 * b, a):
        pairs = zip(a.numpy(), other.numpy(), strict=True)
        expected = [structural_similarity(x, y, win_size=window, data_range=1.0, channel_axis=0) for x, y in pairs]
        torch.testing.assert_close(ssim(a, other), torch.tensor(expected, dtype=torch.float64))
