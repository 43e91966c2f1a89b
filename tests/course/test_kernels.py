"""Kernels on pictures agree with scipy, sizes with torch's convolutions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import skimage.filters
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tapetum as tp
from tapetum.course.by_hand.kernels import KERNELS, correlate, named_kernel
from tapetum.types import ImageError, MethodError

CAT = torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1)[None].double() / 255


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("border", "theirs"), [("reflect", "mirror"), ("replicate", "nearest"), ("zero", "constant")])
def test_every_kernel_gives_scipys_correlation(name: Any, border: str, theirs: str) -> None:
    kernel = named_kernel(name)
    ours = correlate(CAT, kernel, border)[0]
    for mine, channel in zip(ours, CAT[0].numpy(), strict=True):
        expected = scipy.ndimage.correlate(channel, kernel.numpy(), mode=theirs)
        assert np.abs(mine.numpy() - expected).max() < 1e-12  # float64, values up to 8


def test_sobel_and_laplacian_are_scipys_of_that_name() -> None:
    grey = CAT[:, :1]
    for name, theirs in (
        ("sobel_x", scipy.ndimage.sobel(grey[0, 0].numpy(), axis=1, mode="mirror")),
        ("sobel_y", scipy.ndimage.sobel(grey[0, 0].numpy(), axis=0, mode="mirror")),
        ("laplacian", scipy.ndimage.laplace(grey[0, 0].numpy(), mode="mirror")),
    ):
        assert np.abs(correlate(grey, named_kernel(name))[0, 0].numpy() - theirs).max() < 1e-12


def test_the_gaussian_has_a_sigma_of_one_pixel_and_keeps_brightness() -> None:
    kernel = named_kernel("gaussian")
    places = torch.arange(-2.0, 3.0, dtype=torch.float64)
    assert float(kernel.sum()) == 1
    assert float((kernel.sum(0) * places.square()).sum()) == 1  # the variance
    blurred = correlate(CAT, kernel)[0, 0].numpy()
    assert np.abs(blurred - skimage.filters.gaussian(CAT[0, 0].numpy(), 1.0, mode="mirror")).max() < 0.02  # a true one


def test_the_gradients_magnitude_is_skimages_up_to_its_scale() -> None:
    grey = CAT[0].mean(0)
    ours = tp.filter_image(grey.float(), "gradient_magnitude", border="replicate").responses[0][0]
    theirs = skimage.filters.sobel(grey.float().numpy(), mode="nearest")  # divided by 4, and by sqrt(2)
    assert np.abs(ours.numpy() / (4 * math.sqrt(2)) - theirs).max() < 1e-5  # float32


def test_an_own_kernel_is_laid_on_as_it_is_written() -> None:
    picture = torch.zeros(1, 3, 5, 7)
    picture[..., 2, 3] = 1
    asymmetric = [[1.0, 2.0, 3.0]]
    ours = tp.filter_image(picture, asymmetric).responses[0]
    assert ours[0, 2, 2:5].tolist() == [3, 2, 1]  # correlation: the spot meets the right weight first


def test_kinds_of_kernels_in_one_list() -> None:
    made = tp.filter_image(CAT.float(), ["sobel_x", [[-1, 0, 1]], torch.ones(3, 3) / 9])
    assert made.names == ("sobel_x", "your kernel", "your kernel")
    assert [len(response) for response in made.responses] == [1, 1, 3]
    assert made.responses[2].mean().item() == pytest.approx(CAT.mean().item(), abs=1e-3)  # but for the border
    assert tp.filter_image(CAT.float(), [[0, 1, 0], [1, -4, 1], [0, 1, 0]]).names == ("your kernel",)


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        ("sobel", "no kernel 'sobel'; there are sobel_x"),
        ([[1, 2], [3, 4]], "odd number"),
        ([[1, 2, 3], [1, 2]], "rows of numbers"),
        ([], "no kernel"),
        ([[1.0, float("nan"), 1.0]], "finite"),
        ([1.0, 2.0, 3.0], "rows and columns"),
    ],
)
def test_what_is_no_kernel_is_refused(kernel: Any, words: str) -> None:
    with pytest.raises(MethodError, match=words):
        tp.filter_image(CAT.float(), kernel)


def test_a_picture_smaller_than_the_kernel_is_refused() -> None:
    with pytest.raises(ImageError, match="too small"):
        tp.filter_image(torch.rand(1, 3, 2, 2), "gaussian")


@given(
    size=st.integers(1, 40),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 5),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 4),
)
def test_output_size_is_torchs(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> None:
    layer = nn.Conv1d(1, 1, kernel, stride, padding, dilation)
    if dilation * (kernel - 1) + 1 > size + 2 * padding:
        with pytest.raises(MethodError, match="does not fit"):
            tp.output_size(size, kernel, stride, padding, dilation)
        return
    assert tp.output_size(size, kernel, stride, padding, dilation) == layer(torch.zeros(1, 1, size)).shape[-1]


def test_output_size_refuses_what_no_layer_has() -> None:
    for wrong in ({"stride": 0}, {"padding": -1}, {"dilation": 0}):
        with pytest.raises(MethodError, match="must be at least"):
            tp.output_size(10, 3, **wrong)
