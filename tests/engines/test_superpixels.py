"""Superpixels: partitions of each picture by itself, and the masks of coalitions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from zoo import pictures

from tapetum.engines.perturb import coalitions, segment, segments_painted
from tapetum.engines.perturb.superpixels import cells, felzenszwalb, own_segments, quickshift, slic
from tapetum.types import MethodError

KINDS = ("slic", "quickshift", "felzenszwalb", "grid")


def flag(side: int = 48, channels: int = 3) -> Tensor:
    """A dark left half and a bright right half, (c, side, side), with a little noise."""
    pixels = torch.full((channels, side, side), 0.2, dtype=torch.float64)
    pixels[..., side // 2 :] = 0.8
    return pixels + 0.02 * torch.rand(pixels.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_labels_count_from_zero_without_gaps_for_any_number_of_channels(kind: str, channels: int) -> None:
    pixels = torch.stack([flag(24, channels), flag(24, channels).flip(-1), torch.zeros(channels, 24, 24)])
    labels = segment(pixels, kind, 9)  # type: ignore[arg-type]
    assert labels.shape == (3, 24, 24)
    for one in labels:
        assert one.unique().tolist() == list(range(int(one.max()) + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_has_the_same_segments_alone_again_and_in_single_precision(kind: str) -> None:
    pixels = torch.stack([flag(), flag().flip(-1)])
    both = segment(pixels, kind, 12)  # type: ignore[arg-type]
    for row in (0, 1):
        assert torch.equal(segment(pixels[row : row + 1], kind, 12)[0], both[row])  # type: ignore[arg-type]
    assert torch.equal(segment(pixels.float().double(), kind, 12), segment(pixels.float(), kind, 12))  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("cut", [lambda x: slic(x, 12), quickshift, lambda x: felzenszwalb(x, scale=1.0)])
def test_no_superpixel_crosses_a_strong_edge(cut: Any, channels: int) -> None:
    pixels = flag(channels=channels)
    labels = cut(pixels)
    left, right = set(labels[:, :24].flatten().tolist()), set(labels[:, 24:].flatten().tolist())
    assert not left & right
    assert len(left | right) >= 2


def test_a_grid_has_cells_of_nearly_equal_size_and_as_many_as_asked() -> None:
    sizes = cells(30, 17, 16).flatten().bincount()
    assert len(sizes) == 16
    assert sizes.min() >= 7 * 4  # 30 rows are 7 or 8 to a cell, 17 columns 4 or 5
    assert sizes.max() <= 8 * 5
    assert len(cells(3, 2, 100).unique()) == 6  # a pixel is the smallest cell


def test_own_labels_are_renamed_and_one_map_serves_every_picture() -> None:
    pixels = pictures(2)
    own = torch.full((16, 16), 7)
    own[:, :5] = -3
    labels = own_segments(own, pixels)
    assert labels.shape == (2, 16, 16)
    assert torch.equal(labels, (own == 7).long().expand(2, -1, -1))
    assert torch.equal(own_segments(torch.stack([own, own.T]), pixels)[1], (own.T == 7).long())


@pytest.mark.parametrize("wrong", [torch.zeros(16, 16), torch.zeros(16, 15).long(), torch.zeros(3, 16, 16).long()])
def test_labels_that_do_not_fit_are_refused(wrong: Tensor) -> None:
    with pytest.raises(MethodError, match=r"segments are whole numbers \(16, 16\) or \(2, 16, 16\)"):
        own_segments(wrong, pictures(2))


def test_a_coalition_keeps_its_segments_and_hides_the_others() -> None:
    segments = torch.tensor([[0, 0, 1], [2, 1, 1]])
    present = torch.tensor([[1.0, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0]])
    masks = coalitions(segments, present)
    assert masks.count == 4
    assert masks.make(1, 2)[0, 0].tolist() == [[0, 0, 1], [1, 1, 1]]
    assert torch.equal(masks.make(0, 4), torch.cat([masks.make(0, 3), masks.make(3, 4)]))
    assert segments_painted(segments, torch.tensor([5.0, 6, 7])).tolist() == [[[5, 5, 6], [7, 6, 6]]]
