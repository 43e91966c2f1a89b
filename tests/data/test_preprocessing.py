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
from tapetum.data.preprocessing import Preprocessing


def by_torchvision(how: Preprocessing, pixels: Tensor) -> Tensor:
    """Resize, cut, clamp, as the class's docstring says it."""
    height, width = pixels.shape[-2:]
    target = [how.size, how.size]
    if how.resize is not None:
        short, other = min(height, width), max(how.size, int(how.resize * max(height, width) / min(height, width)))
        target = [how.resize, other] if short == height else [other, how.resize]
    resized = TF.resize(pixels, target, interpolation=InterpolationMode(how.interpolation), antialias=True)
    return TF.center_crop(resized, [how.size, how.size]).clamp(0, 1)


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
    how = Preprocessing(size, None if more is None else size + more, interpolation)
    assert torch.equal(how.crop(pixels), by_torchvision(how, pixels))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "lanczos"])
@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 333), (224, 224), (256, 341), (1201, 797), (31, 33)])
def test_photographs_of_the_usual_sizes_are_cut_bit_for_bit(interpolation: str, height: int, width: int) -> None:
    how = Preprocessing(224, 256, interpolation)
    pixels = noise(1, 3, height, width)
    assert torch.equal(how.crop(pixels), by_torchvision(how, pixels))


def test_batches_other_types_and_other_layouts_are_cut_bit_for_bit() -> None:
    how, pixels = Preprocessing(33, 40, "bicubic"), noise(3, 3, 57, 91)
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
        how = Preprocessing(24, 30)
        crop = how.crop(torch.stack([rows, columns, rows])[None])[0] * 200
        top, left, bottom, right = how.box(height, width)
        # Pixel centres lie half a pixel in. Torch's filters begin at whole pixels, so that they keep a ramp to about .01 px;
        # a crop one pixel beside would be 2 px off here.
        assert crop[0, 12, 12].item() + 0.5 == pytest.approx(top + (bottom - top) * 12.5 / 24, abs=0.1)
        assert crop[1, 12, 12].item() + 0.5 == pytest.approx(left + (right - left) * 12.5 / 24, abs=0.1)
