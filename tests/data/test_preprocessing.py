"""Claims about what a model sees of a picture: torchvision's own steps to the last bit, though less is computed."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.v2.functional as TF
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode

from tapetum.data import preprocessing
from tapetum.data.preprocessing import Preprocessing, as_pair
from tapetum.types import ImageError


def by_torchvision(how: Preprocessing, pixels: Tensor) -> Tensor:
    """Resize, cut, clamp, as the class's docstring says it."""
    height, width = pixels.shape[-2:]
    target = list(how.size)
    if isinstance(how.resize, int):
        short, other = min(height, width), int(how.resize * max(height, width) / min(height, width))
        target = [how.resize, other] if short == height else [other, how.resize]
    resized = TF.resize(pixels, target, interpolation=InterpolationMode(how.interpolation), antialias=True)
    return TF.center_crop(resized, list(how.size)).clamp(0, 1)


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


@settings(max_examples=60, deadline=None)
@given(
    short=st.integers(1, 90),
    long=st.integers(0, 200),
    tall=st.booleans(),
    size=st.integers(1, 40),
    more=st.sampled_from([0, 1, 2, 5, 8, 31, None]),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
)
def test_the_crop_is_torchvisions_bit_for_bit(
    short: int, long: int, tall: bool, size: int, more: int | None, interpolation: str
) -> None:
    long = min(short + long, preprocessing.LONGEST * short)  # longer strips are cut before
    pixels = noise(1, 3, long, short) if tall else noise(1, 3, short, long)
    how = Preprocessing((size, size), "squash" if more is None else size + more, interpolation)
    assert torch.equal(how.crop(pixels), by_torchvision(how, pixels))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "lanczos"])
@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 333), (224, 224), (256, 341), (1201, 797), (31, 33)])
def test_photographs_of_the_usual_sizes_are_cut_bit_for_bit(interpolation: str, height: int, width: int) -> None:
    how = Preprocessing((224, 224), 256, interpolation)
    pixels = noise(1, 3, height, width)
    assert torch.equal(how.crop(pixels), by_torchvision(how, pixels))


@pytest.mark.bits
def test_batches_other_types_and_other_layouts_are_cut_bit_for_bit() -> None:
    how, pixels = Preprocessing((33, 33), 40, "bicubic"), noise(3, 3, 57, 91)
    for given_ in (
        pixels,
        pixels.double(),
        pixels.to(memory_format=torch.channels_last),
        pixels[..., 3:-2, 1::2],
        pixels.clone().requires_grad_(),
    ):
        assert torch.equal(how.crop(given_), by_torchvision(how, given_))
    assert all(torch.equal(how.crop(pixels)[i : i + 1], how.crop(pixels[i : i + 1])) for i in range(3))


def test_the_box_is_where_the_crop_was_cut() -> None:
    """A picture whose values are its own coordinates: the crop's middle tells where it came from."""
    for height, width in ((60, 87), (87, 60), (61, 77), (40, 40), (120, 161)):
        rows = torch.arange(height).view(-1, 1).expand(height, width) / 200
        columns = torch.arange(width).expand(height, width) / 200
        how = Preprocessing((24, 24), 30)
        crop = how.crop(torch.stack([rows, columns, rows])[None])[0] * 200
        top, left, bottom, right = how.box(height, width)
        # Pixel centres lie half a pixel in. Torch's filters begin at whole pixels, so that they keep a ramp to about .01 px;
        # a crop one pixel beside would be 2 px off here.
        assert crop[0, 12, 12].item() + 0.5 == pytest.approx(top + (bottom - top) * 12.5 / 24, abs=0.1)
        assert crop[1, 12, 12].item() + 0.5 == pytest.approx(left + (right - left) * 12.5 / 24, abs=0.1)


@pytest.mark.parametrize("size", [(20, 36), (36, 20), (24, 24)])
@pytest.mark.parametrize("picture", [(20, 36), (36, 20), (24, 24), (11, 13), (30, 41), (200, 90), (25, 25), (90, 300)])
@pytest.mark.parametrize("resize", ["crop", "squash", 48])
def test_a_rectangle_is_cut_as_torchvision_cuts_it(size: tuple[int, int], picture: tuple[int, int], resize: int | str) -> None:
    """The scale of "crop" from its definition: at most 8/7 of what covers `size`, and no more than covering enlarges."""
    pixels, (height, width) = noise(2, 3, *picture), picture
    how = Preprocessing(size, resize)
    covering = max(size[0] / height, size[1] / width)
    crop_scale = min(covering * 8 / 7, max(covering, 1))
    scale = {"crop": crop_scale, 48: max(covering, 48 / min(picture))}.get(resize, 0)
    whole, rounded = how.resized(pixels), 1 + max(picture) / min(picture)
    if resize == "squash":
        assert tuple(whole.shape[-2:]) == size
    else:
        assert whole.shape[-2] == pytest.approx(scale * height, abs=rounded)
        assert whole.shape[-1] == pytest.approx(scale * width, abs=rounded)
    assert torch.equal(how.crop(pixels), TF.center_crop(whole, list(size)))
    top, left, bottom, right = how.box(height, width)
    assert (bottom - top) * whole.shape[-2] / height == pytest.approx(size[0])
    assert (right - left) * whole.shape[-1] / width == pytest.approx(size[1])


@pytest.mark.parametrize("size", [(28, 28), (64, 128), (1, 9)])
def test_a_picture_of_exactly_that_size_passes_unchanged(size: tuple[int, int]) -> None:
    pixels = noise(2, 3, *size)
    assert torch.equal(Preprocessing(size, "crop").crop(pixels), pixels)
    assert torch.equal(Preprocessing(size, "squash").crop(pixels), pixels)


def test_large_pictures_are_resized_to_eight_sevenths_as_ever() -> None:
    pixels = noise(1, 3, 375, 500)
    assert torch.equal(Preprocessing((224, 224), "crop").crop(pixels), Preprocessing((224, 224), 256).crop(pixels))


def test_a_size_is_a_side_a_pair_or_a_text() -> None:
    assert [as_pair(one) for one in (64, (48, 64), [48, 64], "48x64", "48 x 64", "64")] == [
        (64, 64), (48, 64), (48, 64), (48, 64), (48, 64), (64, 64)
    ]  # fmt: skip
    for wrong in ("48x", "wide", 0, -3, (1, 2, 3), 1.5, None):
        with pytest.raises(ImageError, match="a size is a side in px, or height x width"):
            as_pair(wrong)


def test_another_size_is_cut_in_the_same_proportion() -> None:
    assert Preprocessing((224, 224), 256).at(112) == Preprocessing((112, 112), 128)
    assert Preprocessing((224, 224), "crop").at("32x64") == Preprocessing((32, 64), "crop")
