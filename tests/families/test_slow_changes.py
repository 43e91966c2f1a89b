"""The share of slow changes in filters agrees with closed forms, a fine Fourier transform, and that of noise."""

from __future__ import annotations

import math

import pytest
import torch

from tapetum.families.filters.comparison import low_frequency_share, white_share


def test_the_share_of_slow_changes_has_closed_forms() -> None:
    spot = torch.zeros(1, 2, 5, 5)
    spot[:, :, 1, 3] = 2  # |W(f)| is the same everywhere
    assert low_frequency_share(spot).item() == pytest.approx(math.pi / 16, abs=1e-12)
    board = (torch.arange(24)[:, None] + torch.arange(24)) % 2 * 2.0 - 1
    assert low_frequency_share(board.expand(1, 1, 24, 24)).item() < 0.01  # its edges alone
    assert low_frequency_share(torch.ones(1, 1, 24, 24)).item() > 0.97
    moved = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(low_frequency_share(moved), low_frequency_share(torch.nn.functional.pad(moved, (2, 0, 1, 1))))
    assert bool(low_frequency_share(torch.zeros(1, 1, 3, 3)).isnan())


def test_the_share_is_that_of_a_fine_fourier_transform() -> None:
    weights = torch.randn(3, 2, 3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    side = 512
    energy = torch.fft.fft2(weights, (side, side)).abs().square().sum(1)
    along = torch.fft.fftfreq(side, dtype=torch.float64)
    low = along[:, None].square() + along[None].square() <= 1 / 16
    expected = (energy * low).sum((1, 2)) / energy.sum((1, 2))
    assert torch.allclose(low_frequency_share(weights), expected, atol=2e-3)  # the disc's rim on a grid of 1/512


@pytest.mark.parametrize("side", [3, 7, 16])
def test_noise_has_the_expected_share_at_any_size(side: int) -> None:
    noise = torch.randn(1000, 3, side, side, generator=torch.Generator().manual_seed(side))
    shares = low_frequency_share(noise)
    error = float(shares.std()) / math.sqrt(len(shares))
    assert abs(float(shares.mean()) - white_share()) < 4 * error
