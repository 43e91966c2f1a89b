"""Consistent and specific channels: their numbers are those of the definition, and do not follow a picture's contrast."""

from __future__ import annotations

import math

import pytest
import torch
from skimage import data
from torch import Tensor, nn
from zoo import pictures, shared, wrapped

import tapetum as tp
from tapetum.engines.probe import activations


def reading(*channels: tuple[float, ...], bias: tuple[float, ...] | None = None) -> tp.VisionModel:
    """A network whose channels are weights of red, green and blue, plus a constant each."""
    conv = nn.Conv2d(3, len(channels), 1).double()
    conv.weight.data = torch.tensor(channels, dtype=torch.float64)[:, :, None, None]
    conv.bias = nn.Parameter(torch.tensor(bias or (0.0,) * len(channels), dtype=torch.float64))
    return wrapped(nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten()))


def flat(*colors: tuple[float, float, float]) -> Tensor:
    """Images of one colour each."""
    return torch.tensor(colors, dtype=torch.float64)[:, :, None, None].expand(-1, -1, 16, 16).clone()


RED, GREEN, BLUE, NONE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0)


def test_numbers_are_those_of_the_definition() -> None:
    model = reading(RED, GREEN, BLUE, NONE, NONE, bias=(0, 0, 0, 10, 0))
    found = tp.consistent_channels(model, flat((5, 1, 1), (1, 5, 1), (1, 1, 5)), layer="0", k=3)
    assert found.activations.tolist() == [[5, 1, 1, 10, 0], [1, 5, 1, 10, 0], [1, 1, 5, 10, 0]]
    # of the first image's five: 10 is above all four others, 5 above three, each 1 above one and level with one, 0 above none
    assert found.percentiles[0].tolist() == [0.75, 0.375, 0.375, 1, 0]
    assert found.consistency.tolist() == [0.375, 0.375, 0.375, 1, 0]
    assert found.consistent.tolist() == [3, 0, 1]  # the constant; of three equal ones the earlier
    spread = math.sqrt((25 + 1 + 1 + 100) / 5 - (17 / 5) ** 2)
    assert found.specificity.tolist() == pytest.approx([4 / spread] * 3 + [0, 0])
    assert found.specific.tolist() == [0, 1, 2]
    assert found.best[:3].tolist() == [0, 1, 2]


def test_of_equally_consistent_channels_the_one_that_is_higher_in_the_mean_comes_first() -> None:
    # red and green have the same lowest percentile, but green is on top twice
    found = tp.consistent_channels(reading(RED, GREEN, BLUE), flat((3, 2, 1), (2, 3, 1), (2, 3, 1)), layer="0")
    assert found.consistency.tolist() == [0.5, 0.5, 0]
    assert found.consistent.tolist() == [1, 0, 2]


def test_a_picture_of_more_contrast_does_not_win_by_that() -> None:
    model, (one, two) = reading(RED, GREEN, BLUE, (1, 1, 0), (0, -1, 1)), pictures(2)
    plain = tp.consistent_channels(model, torch.stack([one, two]), layer="0")
    strong = tp.consistent_channels(model, torch.stack([one, 4 * two]), layer="0")
    assert torch.equal(plain.percentiles, strong.percentiles)
    assert torch.allclose(plain.specificity, strong.specificity)  # a layer without constants: z is the same
    assert torch.equal(plain.best, strong.best)


def test_chance_is_counted() -> None:
    weights = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).tolist()
    image = pictures(1)
    found = tp.consistent_channels(reading(*map(tuple, weights)), image.repeat(2, 1, 1, 1), layer="0")
    # the same image twice: of 40 channels the top four have at most 3 of 39 above them
    assert found.notes[-1].startswith("4 of 40 channels are among the top tenth of all 2 images")
    assert "0.4 would be" in found.notes[-1]
    assert found.specificity.tolist() == [0] * 40


def test_the_maps_are_those_of_the_listed_channels() -> None:
    model, images = shared("residual"), pictures(3)
    found = tp.consistent_channels(model, images, layer="down", k=2)
    maps = activations(model, images, "down")
    assert torch.equal(found.maps, maps[:, [*found.consistent.tolist(), *found.specific.tolist()]])
    assert torch.allclose(found.activations, maps.mean((2, 3)))


def test_a_layer_that_is_zero_everywhere_has_no_specific_channel() -> None:
    found = tp.consistent_channels(reading(NONE, NONE), pictures(2), layer="0")
    assert found.specificity.tolist() == [0, 0]
    assert found.percentiles.tolist() == [[0.5, 0.5]] * 2


def test_it_prints_a_row_a_channel() -> None:
    model = reading(RED, GREEN, BLUE, NONE, bias=(0, 0, 0, 10))
    lines = str(tp.consistent_channels(model, flat((5, 1, 1), (1, 5, 1)), layer="0", k=1)).splitlines()
    assert lines[0] == "0: 4 channels, 2 images; mean activation of each"
    assert lines[3].split() == ["3", "1.00", "0.00", "1", "10", "10"]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(tp.TapetumError, match="two or more"):
        tp.consistent_channels(shared("residual"), pictures(1))
    with pytest.raises(tp.TapetumError, match="single channel"):
        tp.consistent_channels(reading(RED), pictures(2), layer="0")
    with pytest.raises(tp.TapetumError, match="no layer with a map"):
        tp.consistent_channels(shared("linear"), pictures(2))
    broken = reading(RED, (float("nan"), 0, 0))
    with pytest.raises(tp.TapetumError, match="NaN or infinity for image 1, 2"):
        tp.consistent_channels(broken, pictures(2), layer="0")


@pytest.mark.weights
def test_a_mirrored_cat_shares_more_with_the_cat_than_a_rocket_does() -> None:
    model = tp.load("efficientnet_lite0")
    cat, rocket = (model.preprocess(tp.read_image(one())) for one in (data.chelsea, data.rocket))
    mirrored = tp.consistent_channels(model, torch.cat([cat, cat.flip(3)]))
    other = tp.consistent_channels(model, torch.cat([cat, rocket]))
    count = [(one.consistency >= 0.9).sum() for one in (mirrored, other)]
    assert count[0] > 4 * count[1]  # measured: more than half of 128 against a tenth
