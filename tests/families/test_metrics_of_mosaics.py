"""`focus`: maps of mosaics whose share in the own quarters is known by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo import SIDE, pictures, shared

import tapetum as tp
from tapetum.data.sources import packaged_photo
from tapetum.families.metrics.mosaics import mosaics
from tapetum.types import MethodError


class ByColor(nn.Module):
    """Class 0 is the sum of red, class 1 of green, class 2 of blue: input times gradient is the colour itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        return self.weight * images.sum((2, 3))


def colors(*rgb: tuple[float, float, float], side: int = SIDE) -> Tensor:
    return torch.tensor(rgb, dtype=torch.float64)[:, :, None, None].expand(-1, 3, side, side).clone()


def network(size: int | tuple[int, int] = SIDE) -> tp.VisionModel:
    return tp.wrap(ByColor(), size=size, outputs="numbers", mean=(0.0,) * 3, std=(1.0,) * 3)


def red(n: int = 1) -> Tensor:
    """Images (n, 3, h, w) of red that is brighter here and there, with some green."""
    values = colors(*[(0.0, 0.4, 0.0)] * n)
    values[:, 0] = 0.5 + torch.rand(n, SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return values


def test_a_method_that_finds_red_has_all_its_relevance_in_the_red_quarters() -> None:
    images = red()
    maps = tp.input_x_gradient(network(), images, [0])
    found = tp.focus(network(), images, maps, others=colors((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    assert found.value.tolist() == [1]
    assert found.better == "higher"


def test_relevance_elsewhere_counts_by_its_size_and_the_two_others_with_the_lowest_score_are_taken() -> None:
    images = red()
    maps = tp.input_x_gradient(network(), images, [0])
    found = tp.focus(network(), images, maps, others=colors((0.9, 0.0, 0.0), (0.3, 0.0, 0.0), (0.1, 0.0, 0.0)))
    own = 2 * float(F.interpolate(images[:, :1], (SIDE // 2, SIDE // 2), mode="bilinear", antialias=True).sum())
    elsewhere = (0.3 + 0.1) * (SIDE // 2) ** 2
    assert found.value.item() == pytest.approx(own / (own + elsewhere))


def test_what_speaks_against_does_not_count() -> None:
    images = red()
    maps = tp.input_x_gradient(network(), images, [0])
    assert tp.focus(network(), images, maps, others=colors((-5.0, 0.0, 0.0), (-5.0, 1.0, 0.0))).value.tolist() == [1]


def test_a_map_that_knows_no_picture_has_a_focus_of_a_half() -> None:
    model, images = shared("residual"), pictures(2)
    noise = tp.random_attribution(model, images, [1, 3])
    found = tp.focus(model, images, noise)
    shares = found.parts["share"]
    torch.testing.assert_close(shares.sum(1), torch.ones(2, dtype=torch.float64))  # what one diagonal has, the other lacks
    torch.testing.assert_close(found.value, torch.full((2,), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(16, 16), (15, 18), (9, 7)])
def test_the_image_lies_on_one_diagonal_as_it_is_and_mirrored(shape: tuple[int, int]) -> None:
    image, strangers = torch.rand(1, 3, *shape), torch.rand(2, 3, *shape)
    made, own = mosaics(image, strangers)
    top, left = shape[0] // 2, shape[1] // 2
    quarters = [
        (slice(top), slice(left)),
        (slice(top), slice(left, None)),
        (slice(top, None), slice(left)),
        (slice(top, None), slice(left, None)),
    ]
    inside = [[bool(own[i, r, c].all()) for r, c in quarters] for i in range(2)]
    assert inside == [[True, False, False, True], [False, True, True, False]]
    assert torch.equal(own[0], ~own[1])
    for i, order in enumerate(
        [(image, strangers[:1], strangers[1:], image.flip(-1)), (strangers[:1], image, image.flip(-1), strangers[1:])]
    ):
        for (rows, columns), one in zip(quarters, order, strict=True):
            small = F.interpolate(one, made[i, 0, rows, columns].shape, mode="bilinear", antialias=True)
            assert torch.equal(made[i, :, rows, columns], small[0])


def test_without_others_the_packaged_photographs_lie_beside_the_image() -> None:
    model, images = shared("residual"), pictures(1)
    maps = tp.saliency(model, images, [1])
    given = model.preprocess([packaged_photo(name) for name in ("cat", "astronaut", "coffee", "rocket")])
    assert torch.equal(tp.focus(model, images, maps).value, tp.focus(model, images, maps, others=given).value)


def test_maps_without_a_number_have_a_reason() -> None:
    images = red(4)
    images[3] *= -1
    maps = tp.input_x_gradient(network(), images, [0] * 4)
    values = maps.values.clone()
    values[1], values[2, 0, 0, 0] = 0, torch.nan
    given = replace(maps, values=values, status=("ok", "constant", "non_finite", "no_positive_evidence"))
    found = tp.focus(network(), images, given, others=colors((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    assert found.status == ("ok", "zero", "non_finite", "no_positive_evidence")
    assert found.value.isnan().tolist() == [False, True, True, True]


def test_other_targets_others_and_maps_are_refused() -> None:
    model, images = shared("residual"), pictures(1)
    with pytest.raises(MethodError, match="no single classes"):
        tp.focus(model, images, tp.saliency(model, images, tp.contrast(0, 1)))
    maps = tp.saliency(model, images, [1])
    with pytest.raises(MethodError, match="two or more others"):
        tp.focus(model, images, maps, others=pictures(1))
    with pytest.raises(MethodError, match="no method is called 'by_hand'"):
        tp.focus(model, images, replace(maps, method="by_hand"))
