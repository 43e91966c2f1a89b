"""Relevance mass and rank, the pointing game: numbers that can be told by hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo import pictures, shared

import tapetum as tp
from tapetum.types import Attribution, MethodError, Reduce, Status


def maps(values: torch.Tensor, reduce: Reduce = "sum", status: tuple[Status, ...] | None = None) -> Attribution:
    """Attributions (n, h, w) as a method would give them."""
    n, height, width = values.shape
    return Attribution(
        values[:, None].double(), "by_hand", status or ("ok",) * n, ("a",) * n, size=(height, width), reduce=reduce
    )


ROW = torch.tensor([[[3.0, 1.0, -5.0, 0.0]]])


def test_mass_is_the_share_of_what_is_positive() -> None:
    mask = torch.tensor([[True, False, True, False]])
    found = tp.relevance_mass(maps(ROW), mask)
    assert found.value.tolist() == [3 / 4]  # 3 / (3 + 1); what speaks against does not count
    assert found.area.tolist() == [0.5]
    assert found.status == ("ok",)


def test_rank_is_the_share_of_the_highest_pixels() -> None:
    assert tp.relevance_rank(maps(ROW), torch.tensor([[True, False, True, False]])).value.tolist() == [0.5]
    assert tp.relevance_rank(maps(ROW), torch.tensor([[True, True, False, False]])).value.tolist() == [1]
    assert tp.relevance_rank(maps(ROW), torch.tensor([[False, False, True, False]])).value.tolist() == [0]


def test_equal_pixels_count_by_their_mean() -> None:
    """K = 2: the one of value 2 is out, one of the three ones goes in, and one of those three is inside the mask."""
    row = torch.tensor([[[2.0, 1.0, 1.0, 1.0, 0.0]]])
    mask = torch.tensor([[False, True, False, False, True]])
    assert tp.relevance_rank(maps(row), mask).value.item() == pytest.approx((1 / 3) / 2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-3, 3), min_size=9, max_size=9).filter(lambda v: max(v) > 0 and len(set(v)) > 1),
    st.lists(st.booleans(), min_size=9, max_size=9).filter(any),
)
def test_both_agree_with_fractions_of_whole_numbers(values: Any, inside: Any) -> None:
    """A second derivation, in exact arithmetic; the rank as the mean over all orders of equal pixels."""
    relevance, mask = torch.tensor(values).view(1, 3, 3), torch.tensor(inside).view(1, 3, 3)
    positive = [max(v, 0) for v in values]
    mass = Fraction(sum(v for v, i in zip(positive, inside, strict=True) if i), sum(positive))
    assert tp.relevance_mass(maps(relevance), mask).value.item() == pytest.approx(float(mass), abs=1e-12)
    k, hits, left = sum(inside), Fraction(0), sum(inside)
    for value in sorted(set(values), reverse=True):
        level = [i for v, i in zip(values, inside, strict=True) if v == value]
        taken = min(left, len(level))
        hits, left = hits + Fraction(taken * sum(level), len(level)), left - taken
    assert tp.relevance_rank(maps(relevance), mask).value.item() == pytest.approx(float(hits / k), abs=1e-12)


def test_a_map_that_knows_nothing_reaches_the_mask_s_area() -> None:
    noise = maps(torch.rand(200, 16, 16, generator=torch.Generator().manual_seed(0)))
    masks = torch.zeros(200, 16, 16, dtype=torch.bool)
    masks[:, 2:10, 4:9] = True
    # the mean of 200 maps of 40 pixels each: a standard error of .004 for the rank, less for the mass
    assert tp.relevance_mass(noise, masks).mean == pytest.approx(40 / 256, abs=0.02)
    assert tp.relevance_rank(noise, masks).mean == pytest.approx(40 / 256, abs=0.02)


def test_the_mask_itself_and_its_complement_are_the_ends() -> None:
    mask = torch.zeros(1, 6, 6, dtype=torch.bool)
    mask[0, 1:3, 2:5] = True
    for measure in (tp.relevance_mass, tp.relevance_rank, tp.pointing_game):
        assert measure(maps(mask.double()), mask).value.tolist() == [1]
    for measure in (tp.relevance_mass, tp.relevance_rank):
        assert measure(maps((~mask).double()), mask).value.tolist() == [0]


def test_what_has_no_answer_is_nan_and_says_why() -> None:
    full, empty = torch.ones(4, 4, dtype=torch.bool), torch.zeros(4, 4, dtype=torch.bool)
    peak = torch.zeros(4, 4)
    peak[0, 0] = 1
    values = torch.stack([peak, -peak, torch.ones(4, 4), torch.full((4, 4), torch.nan), peak])
    masks = torch.stack([empty, full, full, full, full])
    said = ("empty_mask", "no_positive_evidence", "constant", "non_finite", "ok")
    own = ("ok", "no_positive_evidence", "constant", "non_finite", "ok")
    for measure in (tp.relevance_mass, tp.relevance_rank, tp.pointing_game):
        found = measure(maps(values, status=own), masks)
        assert found.status == said
        assert found.value.isnan().tolist() == [True] * 4 + [False]
        assert found.mean == 1  # of the one that has a number
        assert found.defined == 1
        assert "without a number: 1 empty mask, 1 no positive evidence, 1 constant map, 1 NaN in the map" in str(found)
        assert measure(maps(values)[1], full).status == ("no_positive_evidence",)  # found in the map too


def test_the_pointing_game_forgives_so_many_pixels() -> None:
    """The peak at (0, 0), the mask's nearest pixel at (3, 4): 5 pixels away, by Pythagoras."""
    peak = torch.zeros(1, 8, 8)
    peak[0, 0, 0] = 1
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, 3:, 4:] = True
    assert tp.pointing_game(maps(peak), mask, tolerance_px=5).value.tolist() == [1]
    assert tp.pointing_game(maps(peak), mask, tolerance_px=4.99).value.tolist() == [0]
    peak[0, 7, 7] = 1  # two highest pixels, one of them inside
    assert tp.pointing_game(maps(peak), mask, tolerance_px=0).value.tolist() == [0.5]


def test_cams_count_after_the_relu_and_at_the_images_size() -> None:
    """A 2 x 2 map with one positive cell, enlarged to 8 x 8: the mass is that of bilinear weights, told by hand in 1-d."""
    values = torch.tensor([[[1.0, -1.0], [-1.0, -1.0]]])
    found = Attribution(values[:, None].double(), "cam", ("ok",), ("a",), size=(8, 8), reduce="positive")
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :4, :4] = True
    weights = torch.tensor([1, 1, 7 / 8, 5 / 8, 3 / 8, 1 / 8, 0, 0], dtype=torch.float64)  # align_corners=False
    expected = weights[:4].sum() ** 2 / weights.sum() ** 2
    assert tp.relevance_mass(found, mask).value.item() == pytest.approx(float(expected))


def test_on_a_network_whose_score_sees_one_corner(tmp_path: Path) -> None:
    """Input x gradient of a linear net: the mass follows from weight times pixel, which are known."""
    model, images = shared("linear"), pictures(2)
    attribution = tp.input_x_gradient(model, images, target=[0, 1])
    masks = torch.zeros(2, *images.shape[-2:], dtype=torch.bool)
    masks[:, :8] = True
    weight = next(p for name, p in model.module.named_parameters() if p.ndim == 2)[[0, 1]].detach().view_as(images)
    relevance = (weight * images).sum(1).clamp(min=0)
    expected = relevance[:, :8].sum((1, 2)) / relevance.sum((1, 2))
    found = tp.relevance_mass(attribution, masks)
    assert torch.allclose(found.value, expected)
    again = tp.open(tp.save(found, tmp_path / "mass"))
    assert torch.equal(again.value, found.value)
    assert str(again) == str(found)
    assert tp.draw(again).get_axes()


def test_masks_of_another_size_or_kind_are_refused() -> None:
    with pytest.raises(MethodError, match=r"give \(1, 1, 4\): cut and resized"):
        tp.relevance_mass(maps(ROW), torch.ones(1, 2, 8, dtype=torch.bool))
    with pytest.raises(MethodError, match="True or False"):
        tp.relevance_rank(maps(ROW), torch.tensor([[0.0, 0.5, 1.0, 0.0]]))
    with pytest.raises(MethodError, match="must be from 0 to 10000, not -1"):
        tp.pointing_game(maps(ROW), torch.ones(1, 1, 4), tolerance_px=-1)


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    """A second derivation: all pairs of a pixel inside and one outside, with whole numbers so that many are equal."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(-3, 4, (4, 5, 7), generator=generator).double()
    mask = torch.rand(4, 5, 7, generator=generator) < 0.3
    for one, inside, found in zip(values, mask, tp.localization_auc(maps(values), mask).value, strict=True):
        pairs = one[inside][:, None] - one[~inside][None]
        assert found.item() == pytest.approx(((pairs > 0).double() + (pairs == 0).double() / 2).mean().item())


def test_auc_is_one_for_the_mask_itself_and_zero_for_its_opposite() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 1:3, 1:] = True
    assert tp.localization_auc(maps(mask.double()), mask).value.tolist() == [1]
    opposite = maps((~mask).double())
    assert tp.localization_auc(opposite, mask).value.tolist() == [0]


def test_auc_has_no_number_where_nothing_is_outside_and_top_k_has() -> None:
    values, whole = torch.arange(16.0).view(1, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool)
    found = tp.localization_auc(maps(values), whole)
    assert found.status == ("full_mask",)
    assert found.value.isnan().all()
    assert "a mask of the whole picture" in str(found)
    assert tp.top_k_intersection(maps(values), whole, k=3).value.tolist() == [1]


def test_top_k_is_the_share_of_the_k_highest_pixels_and_with_the_masks_size_it_is_the_relevance_rank() -> None:
    row, mask = torch.tensor([[[5.0, 4.0, 3.0, 2.0, 1.0]]]), torch.tensor([[False, True, True, False, False]])
    values = [tp.top_k_intersection(maps(row), mask, k=k).value.item() for k in range(1, 6)]
    assert values == pytest.approx([0, 1 / 2, 2 / 3, 1 / 2, 2 / 5])
    assert tp.top_k_intersection(maps(row), mask, k=2).value == tp.relevance_rank(maps(row), mask).value
    equal = torch.tensor([[[2.0, 1.0, 1.0, 1.0, 0.0]]])  # the second place is shared by three pixels, two of them inside
    assert tp.top_k_intersection(maps(equal), mask, k=2).value.item() == pytest.approx((2 / 3) / 2)


def test_top_k_counts_two_percent_of_the_pixels_unless_told_and_no_more_than_there_are() -> None:
    values, mask = torch.arange(400.0).view(1, 20, 20), torch.zeros(1, 20, 20, dtype=torch.bool)
    mask.view(-1)[-6:] = True
    assert tp.top_k_intersection(maps(values), mask).value.item() == pytest.approx(6 / 8)
    with pytest.raises(MethodError, match="have 400 pixels, fewer than k = 401"):
        tp.top_k_intersection(maps(values), mask, k=401)


@pytest.mark.parametrize("metric", ["top_k_intersection", "localization_auc"])
def test_maps_and_masks_without_a_number_have_a_reason_in_the_new_ones_too(metric: str) -> None:
    values, mask = torch.rand(4, 4, 4), torch.ones(4, 4, 4, dtype=torch.bool)
    values[1], values[2, 0, 0], mask[:, 0], mask[3] = 0, torch.nan, False, False
    found = getattr(tp, metric)(maps(values, status=("ok", "constant", "non_finite", "ok")), mask)
    assert found.status == ("ok", "constant", "non_finite", "empty_mask")
    assert found.value.isnan().tolist() == [False, True, True, True]
