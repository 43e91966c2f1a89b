"""scikit-learn's digits as pixels."""

from __future__ import annotations

import sys

import pytest
import torch

from tapetum.data.digits import digits
from tapetum.data.streams import Source, as_source
from tapetum.types import ImageError, TapetumError

sklearn = pytest.importorskip("sklearn.datasets")


def test_pixels_are_the_table_s_own() -> None:
    data, table = digits(size=8), sklearn.load_digits()
    exact = torch.from_numpy(table.images).float() / 16
    # 256 levels: half a level of rounding
    assert (data.pixels - exact[:, None]).abs().max() <= 0.5 / 255 + 1e-6
    assert data.targets.tolist() == table.target.tolist()


def test_the_splits_share_nothing_and_hold_a_fifth_of_each_digit() -> None:
    train, test, both = digits("train"), digits("test"), digits()
    assert sorted(train.rows + test.rows) == list(both.rows) == list(range(1797))
    counts = torch.bincount(both.targets)
    assert torch.bincount(test.targets).tolist() == (counts * 0.2).round().int().tolist()
    assert test.rows == digits("test", size=16).rows
    assert len(train) == 1438
    assert len(test) == 359


def test_enlarging_keeps_the_mean() -> None:
    """Bilinear enlargement by a whole factor changes the mean at the borders alone, which are dark."""
    small, large = digits("test", size=8).pixels, digits("test", size=32).pixels
    assert torch.allclose(small.mean((1, 2, 3)), large.mean((1, 2, 3)), atol=0.01)


def test_they_are_a_source() -> None:
    data = as_source("digits:test:size=16")
    assert isinstance(data, Source)
    assert data.name == "digits/test"
    assert list(data.ids) == sorted(set(data.ids))
    assert data.ids[0].endswith(data.labels[0])
    assert torch.equal(data.read(5), data.pixels[5:6])
    assert data.fingerprint() == as_source("digits:test:size=16").fingerprint() != as_source("digits:test").fingerprint()


def test_refusals_say_what_would_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match="train"):
        as_source("digits:val")
    with pytest.raises(ImageError, match="8 to 1024"):
        digits(size=4)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(TapetumError, match=r"pip install 'tapetum\[lessons\]'"):
        digits()
