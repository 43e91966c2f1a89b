"""Results one by one: a row, a crop, and refusals that name the choices. Laws of all kinds are in laws/test_result_laws.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from zoo import pictures, shared

import tapetum as tp
from tapetum.types import Attribution, Example, Histogram, TapetumError, UnitExamples, UnitSpectrum

N = 3


def attribution() -> Attribution:
    return tp.grad_cam(shared("residual"), pictures(N), [1, 2, 3])


def unit(name: str) -> UnitExamples:
    return UnitExamples(name, (Example("x", 1.0, None, 0),) * 2, torch.zeros(2, 3, 4, 4, dtype=torch.uint8))


def spectrum(name: str) -> UnitSpectrum:
    flat = Histogram(torch.zeros(2), torch.ones(1))
    return UnitSpectrum(name, *[unit(name + part) for part in "abcd"], threshold=0.0, around="zero", histogram=flat)


def test_a_row_of_an_attribution_is_the_attribution_of_that_image() -> None:
    for row, (one, image) in enumerate(zip(attribution(), pictures(N), strict=True)):
        alone = tp.grad_cam(shared("residual"), image[None], row + 1)
        torch.testing.assert_close(one.values, alone.values)
        assert (one.target, one.explains, one.status) == (alone.target, alone.explains, alone.status)


def test_the_crop_of_an_example_that_is_not_there_is_an_index_error() -> None:
    examples = unit("a")
    assert torch.equal(examples.crop(-1), examples.crop(1))
    with pytest.raises(IndexError, match="there is no picture 2: there are 2, 0 to 1"):
        examples.crop(2)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("reduce", ["mean", "max", "", True, 1, ("sum",)])
def test_a_heatmap_refuses_a_reduction_that_it_does_not_know(reduce: Any) -> None:
    with pytest.raises(TapetumError, match=r"^reduce is one of sum, positive, max_abs, not "):
        attribution().heatmap(reduce=reduce)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("size", ["big", "", (0, 4), (4, -1), (4,), (4, 4, 4), (4.5, 4), 0, -3, 2.5, True, ("4", "4"), b"ab"])
@pytest.mark.parametrize("ask", ["heatmap", "ranking"])
def test_a_heatmap_refuses_a_size_that_is_none(size: Any, ask: str) -> None:
    with pytest.raises(TapetumError, match=r"^a size is \(height, width\) in whole pixels from 1 up, or \"input\", not "):
        getattr(attribution(), ask)(size)


@pytest.mark.usefixtures("unchecked")
def test_sizes_that_are_one_are_taken() -> None:
    result = attribution()
    wanted = F.interpolate(result.values.sum(1, keepdim=True).clamp(min=0), (5, 7), mode="bilinear")[:, 0]
    for size in ((5, 7), [5, 7], torch.Size((5, 7)), (np.int64(5), torch.tensor(7))):
        torch.testing.assert_close(result.heatmap(size), wanted)
    assert result.heatmap(9).shape == (N, 9, 9)
    assert result.ranking(None).shape[1:] == result.values.shape[2:]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("group", ["middle", "threshold", None])
def test_a_spectrum_refuses_a_group_that_it_does_not_have(group: Any) -> None:
    with pytest.raises(TapetumError, match="a group of a spectrum is one of minimum, slightly_negative, slightly_positive"):
        spectrum("a").examples(group)
