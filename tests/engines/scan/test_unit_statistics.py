"""Moments, sparsity, correlations, scores and vectors at random places against all values, in fractions or by brute force."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tapetum.engines.scan.trackers import CoActivation, Context, Moments, Positions, Scores, SeenBatch, Sparsity, Tracker, exact
from tapetum.engines.scan.trackers.coactivation import levels
from tapetum.engines.scan.trackers.positions import inner
from tapetum.types import TapetumError

IDS = [f"{i:04d}.jpg" for i in range(4000)]

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
"""All of float32: subnormal numbers, both zeros, the largest."""


def random_maps(n: int, channels: int, side: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(n, channels, side, side, generator=torch.Generator().manual_seed(seed))


def found(tracker: Tracker, maps: Tensor, *, batch: int = 8, grid: tuple[int, int] | None = None) -> Any:
    """The result after several batches."""
    state = tracker.start(maps.shape[1])
    for start in range(0, len(maps), batch):
        rows = maps[start : start + batch]
        state = tracker.update(state, SeenBatch(rows, torch.arange(start, start + len(rows))))
    return tracker.result(state, Context("layer", IDS, grid))


# --- exact sums


@settings(max_examples=60, deadline=None)
@given(numbers=st.lists(FLOATS, min_size=1, max_size=30))
def test_sums_and_squares_are_those_of_fractions(numbers: list[float]) -> None:
    values = torch.tensor(numbers)[:, None]
    true = [Fraction(number) for number in numbers]
    assert [Fraction(one, 1 << exact.UNIT) for one in exact.total(exact.sums(values))] == [sum(true)]
    assert Fraction(exact.total_squares(exact.squares(values))[0], 1 << 2 * exact.UNIT) == sum(one * one for one in true)
    mean, deviation = exact.mean_and_deviation(exact.sums(values), exact.squares(values), len(true))
    center = sum(true) / len(true)
    assert float(mean) == float(center)
    variance = sum((one - center) ** 2 for one in true) / len(true)
    assert float(deviation) == math.sqrt(variance)


def test_an_exact_sum_refuses_what_has_no_value() -> None:
    with pytest.raises(TapetumError, match="finite"):
        exact.sums(torch.tensor([[1.0], [float("inf")]]))


def test_no_bin_overflows_where_all_numbers_are_the_largest() -> None:
    """2^32 terms fit into a bin: the largest number of a bin, shifted, times 2^32, is below 2^63; a half of a square too."""
    largest = torch.tensor([[torch.finfo(torch.float32).max]])
    assert int(exact.sums(largest).max()) << 32 < 1 << 63
    assert int(exact.squares(largest).max()) << 32 < 1 << 63


# --- moments and sparsity


def test_moments_where_the_mean_hides_the_deviation_from_floats() -> None:
    maps = random_maps(50, 4) * 1e-2 + 1e5
    result = found(Moments(), maps)
    peak = maps.flatten(2).amax(2).double()
    assert torch.allclose(result.mean, peak.mean(0), rtol=1e-14, atol=0)
    # numpy takes the mean off first, so its own error is a few units of 1e-16 of the largest centred square
    np.testing.assert_allclose(result.sd, peak.numpy().std(0), rtol=1e-12)
    mean = maps.flatten(2).mean(2).double()
    np.testing.assert_allclose(result.map_mean, mean.mean(0), rtol=1e-14)
    np.testing.assert_allclose(result.map_sd, mean.numpy().std(0), rtol=1e-9)
    assert result.n == 50


def test_sparsity_counts_places_and_pictures() -> None:
    maps = torch.zeros(4, 3, 2, 2)
    maps[:, 0] = 1.0
    maps[1, 1, 0, 1] = 2.0
    maps[2, 1] = -1.0
    result = found(Sparsity(), maps, batch=3)
    assert result.sparsity.tolist() == [0.0, 15 / 16, 1.0]
    assert result.silent.tolist() == [0.0, 0.75, 1.0]
    assert result.lowest.tolist() == maps.amin((0, 2, 3)).tolist()
    assert result.dead == [2]
    assert result.n == 4


# --- co-activation


def scores_as_maps(scores: Tensor) -> Tensor:
    return scores[:, :, None, None]


@pytest.mark.parametrize("spread", [0.0, 3.0, 12.0])
@pytest.mark.parametrize("outlier", [1.0, 1000.0])
def test_correlations_are_those_of_all_scores(spread: float, outlier: float) -> None:
    """Units of all kinds of mean and scale; `spread`: how far pictures differ in scale, in octaves; one massive unit."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(300, 4, generator=generator) @ torch.randn(4, 12, generator=generator)
    scores = scores + 3 * torch.randn(12, generator=generator)
    scores = scores * 2 ** (spread * torch.rand(300, 1, generator=generator))
    scores[:, 5] *= outlier
    result = found(CoActivation(), scores_as_maps(scores))
    expected = np.corrcoef(scores.double().numpy().T)
    # rounding is noise of step / sqrt(12), and a step at most 2^-15 of the picture's strongest unit; `noise` is its share of a
    # unit's deviation: a correlation over n pictures is off by about noise / sqrt(n), and by noise^2 on average
    noise = float(((scores.abs().amax(1) * 2.0**-15) ** 2).mean().sqrt() / 12**0.5 / scores.std(0).min())
    np.testing.assert_allclose(result.correlation, expected, rtol=0, atol=5 * noise / 300**0.5 + noise**2 + 1e-7)
    assert noise < (1e-4 if outlier == 1.0 else 0.1)
    assert torch.equal(result.correlation, result.correlation.T)
    assert result.n == 300


def test_whole_numbers_are_not_rounded_and_give_the_correlation_to_the_last_bit() -> None:
    scores = torch.randint(-500, 500, (200, 6), generator=torch.Generator().manual_seed(1)).float()
    scores[:, 0] = 512.0  # every picture has the same level
    found_ = found(CoActivation(), scores_as_maps(scores)).correlation
    expected = torch.from_numpy(np.corrcoef(scores[:, 1:].double().numpy().T)).float()
    assert torch.allclose(found_[1:, 1:], expected, rtol=0, atol=6e-8)  # the last bit of a float32 near one
    assert found_[0].isnan().all()


def test_neighbors_and_opposites_come_in_order_without_the_unit_itself() -> None:
    base = torch.randn(100, generator=torch.Generator().manual_seed(2))
    noise = torch.randn(100, 5, generator=torch.Generator().manual_seed(3))
    scores = torch.stack([base, base + 0.1 * noise[:, 1], base + noise[:, 2], -base + 0.5 * noise[:, 3], 0 * base], 1)
    result = found(CoActivation(), scores_as_maps(scores))
    assert [channel for channel, _ in result.neighbors(0)] == [1, 2]
    assert [channel for channel, _ in result.opposites(0)] == [3]
    assert result.neighbors(0, 1)[0][1] == pytest.approx(float(result.correlation[0, 1]))
    assert result.opposites(0)[0][1] < 0
    assert result.neighbors(4) == []
    with pytest.raises(TapetumError, match="channels 0 to 4"):
        result.neighbors(5)


def test_a_table_that_would_not_fit_is_refused() -> None:
    with pytest.raises(TapetumError, match="at most 8192 units"):
        CoActivation().start(8193)


@settings(max_examples=50, deadline=None)
@given(number=FLOATS.filter(bool))
def test_the_level_of_a_picture_is_the_power_of_sixteen_above_it(number: float) -> None:
    level = int(levels(torch.tensor([[number, 0.0]])))
    assert Fraction(16) ** (level - 1) <= abs(Fraction(number)) < Fraction(16) ** level


# --- scores


def test_the_units_that_fire_on_a_picture_are_those_far_above_their_mean() -> None:
    maps = random_maps(40, 6)
    maps[7, 4] += 9.0
    maps[:, 5] = 1.5
    result = found(Scores(), maps)
    peak = maps.flatten(2).amax(2)
    assert torch.equal(result.scores, peak)
    assert result.samples.tolist() == list(range(40))
    fires = result.fires("0007.jpg", k=3)
    assert fires[0].channel == 4
    assert fires[0].percentile == pytest.approx(100 * 39.5 / 40)
    column = peak[:, 4].double().numpy()
    assert fires[0].z == pytest.approx((column[7] - column.mean()) / column.std())
    assert float(result.z(7)[5]) == 0.0
    assert float(result.percentile(7)[5]) == 50.0
    assert len(fires) == 3


def test_percentiles_count_lower_scores_and_half_of_the_equal_ones() -> None:
    scores = torch.randint(0, 5, (30, 3), generator=torch.Generator().manual_seed(5)).float()
    result = found(Scores(), scores_as_maps(scores))
    for picture in range(30):
        lower = (scores < scores[picture]).sum(0) + 0.5 * (scores == scores[picture]).sum(0)
        assert torch.allclose(result.percentile(picture), 100.0 * lower.double() / 30)
    new = torch.tensor([[-1.0, 2.5, 9.0]])
    assert result.percentiles(new)[0, 0] == 0
    assert result.percentiles(new)[0, 2] == 100
    with pytest.raises(TapetumError, match=r"no scores of picture 'x\.jpg'"):
        result.z("x.jpg")


# --- vectors at random places


def test_vectors_are_those_of_the_maps_at_the_places_that_are_named() -> None:
    maps = random_maps(10, 5, side=6)
    result = found(Positions(count=4), maps, grid=(6, 6))
    assert result.vectors.shape == (40, 5)
    for vector, sample, place in zip(result.vectors, result.samples.tolist(), result.places.tolist(), strict=True):
        row, column = divmod(place, 6)
        assert 1 <= row <= 4
        assert 1 <= column <= 4
        assert torch.equal(vector, maps[sample, :, row, column])
    for sample in range(10):
        assert len(set(result.places[result.samples == sample].tolist())) == 4
    assert torch.equal(result.rows_columns, torch.stack([result.places // 6, result.places % 6], 1))


def test_a_pictures_places_depend_on_the_seed_and_the_picture_alone() -> None:
    maps = random_maps(12, 2, side=8)
    several = found(Positions(count=2, seed=3), maps, batch=12)
    tracker = Positions(count=2, seed=3)
    alone = tracker.update(tracker.start(2), SeenBatch(maps[9:10], torch.tensor([9])))
    assert torch.equal(alone["places"].long(), several.places[several.samples == 9])
    assert not torch.equal(found(Positions(count=2, seed=4), maps).places, several.places)


def test_places_are_drawn_evenly_from_inside_the_border() -> None:
    result = found(Positions(), torch.zeros(2000, 1, 5, 5), batch=500, grid=(5, 5))
    counts = result.places.bincount(minlength=25).reshape(5, 5)
    assert counts.sum() == counts[1:4, 1:4].sum() == 2000
    # nine places, 222 each, standard deviation 14: five of them either way
    assert int((counts[1:4, 1:4] - 2000 / 9).abs().max()) < 70


def test_small_maps_give_all_they_have_and_vectors_are_one_place() -> None:
    assert inner(2, 7, 1).tolist() == [1, 2, 3, 4, 5, 8, 9, 10, 11, 12]
    assert inner(1, 1, 1).tolist() == [0]
    assert len(found(Positions(count=16), random_maps(2, 3)).places) == 2
    assert len(found(Positions(count=16, border=0), random_maps(2, 3)).places) == 18


def test_half_precision_refuses_what_it_cannot_hold() -> None:
    maps = random_maps(2, 3)
    assert found(Positions(dtype="float16"), maps).vectors.dtype == torch.float16
    with pytest.raises(TapetumError, match="do not fit into float16"):
        found(Positions(dtype="float16"), maps * 1e6)
    with pytest.raises(TapetumError, match="count must be at least 1"):
        Positions(count=0)
