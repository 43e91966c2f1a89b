"""Figures of training: what they say is what the result holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import tapetum as tp
from tapetum.types import Epoch, History, PredictionCheck, TapetumError


def history() -> History:
    epochs = tuple(Epoch(i, 1 / i, 0.5, 2 / i, 0.4 + i / 10, 1e-3, 1.0) for i in (1, 2, 3))
    snapshots = torch.randn(4, 20, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    return History("net", ("a", "b"), epochs, 2, (10, 4), snapshots, "features.0")


def check(k: int = 3) -> PredictionCheck:
    truth, predicted = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 2, 2, 1])
    confusion = torch.zeros(k, k, dtype=torch.long)
    for row, column in zip(truth.tolist(), predicted.tolist(), strict=True):
        confusion[row, column] += 1
    names = tuple(f"class {i}" for i in range(k))
    return PredictionCheck(
        "net", names, confusion, torch.rand(4, 3, 8, 8), tuple("wxyz"), truth, predicted, torch.tensor([0.9, 0.6, 0.7, 0.5])
    )


def words(figure) -> list[str]:
    found = [text.get_text() for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)]
    return [word for word in [*found, *(text.get_text() for text in figure.texts)] if word]


def test_the_curves_are_the_numbers_of_the_epochs() -> None:
    loss, accuracy = tp.draw(history()).axes
    train, held, ring = loss.lines
    assert list(train.get_ydata()) == [1, 1 / 2, 1 / 3]
    assert list(held.get_ydata()) == [2, 1, 2 / 3]
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([2], [1.0])
    assert list(accuracy.lines[1].get_ydata()) == [0.4 + i / 10 for i in (1, 2, 3)]


def test_filters_are_drawn_on_one_scale_with_zero_as_mid_grey() -> None:
    zero = history().snapshots.clone()
    zero[2, 0] = 0
    figure = tp.draw(replace(history(), snapshots=zero), view="filters")
    picture = figure.axes[2].images[0].get_array()
    assert abs(picture[:48, :48] - 0.5).max() < 1e-6
    assert "16 of 20 filters" in figure.texts[0].get_text()
    assert words(figure)[0] == "random start"
    start = figure.axes[0].images[0].get_array()
    top = float(zero.abs().max())
    assert start[0, 0, 0] == pytest.approx(float(zero[0, 0, 0, 0, 0]) / (2 * top) + 0.5, abs=1e-6)  # float32


def test_without_snapshots_the_filters_are_refused() -> None:
    with pytest.raises(TapetumError, match="kept no snapshots"):
        tp.draw(replace(history(), snapshots=torch.zeros(0, 0, 0, 0, 0)), view="filters")


def test_right_and_wrong_answers_differ_in_colour_and_in_a_sign() -> None:
    figure = tp.draw(check())
    titles = [axes.title for axes in figure.axes[:4]]
    assert [title.get_text()[0] for title in titles] == ["\N{CHECK MARK}", "\N{BALLOT X}", "\N{CHECK MARK}", "\N{BALLOT X}"]
    colors = [title.get_color() for title in titles]
    assert colors[0] == colors[2] != colors[1] == colors[3]
    assert figure.axes[1].xaxis.label.get_text() == "it is class 1"
    assert "2 of 4 pictures right (50.0%)" in figure.texts[0].get_text()
    assert [text.get_text() for text in figure.axes[-1].texts] == ["1", "1", "1", "1"]


def test_many_classes_and_no_picture_still_draw() -> None:
    assert not tp.draw(check(30)).axes[-1].texts
    none = replace(check(), pixels=torch.zeros(0, 3, 1, 1), shows="wrong")
    assert "no picture is wrong" in words(tp.draw(none)) or any(
        "no picture is wrong" in axes.get_title(loc="left") for axes in tp.draw(none).axes
    )
