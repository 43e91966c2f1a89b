"""Lists have figures too: the layers of one image by depth, and what a model says with names and probabilities."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from zoo import pictures, shared

import tapetum as tp


def words(figure: Any) -> list[str]:
    """Everything that is written in a figure."""
    axes = figure.get_axes()
    written = [text.get_text() for one in axes for text in one.texts]
    heads = [place for one in axes for place in (one.get_title(loc="left"), one.get_ylabel())]
    return [*written, *heads, *(text.get_text() for text in figure.texts)]


def test_the_maps_of_several_layers_are_a_row_each_with_name_and_size() -> None:
    found = tp.activation_maps(shared("residual"), pictures(2), layers=["stem", "second"], k=3)
    told = words(tp.draw(found))
    assert {"stem\n16 × 16", "second\n8 × 8", "What 2 layers found (the first image)"} <= set(told)
    assert {f"channel {int(one)}" for maps in found for one in maps.channels[0]} <= set(told)


def test_predictions_are_bars_with_their_names_and_probabilities() -> None:
    said = [[tp.Prediction(3, "a costly $ word", 0.75), tp.Prediction(1, None, 0.25)]]
    figure = tp.draw(said, pixels=torch.zeros(1, 3, 8, 8))
    assert {"a costly $ word", "class 1", "75.0%", "25.0%"} <= set(words(figure))
    assert [bar.get_width() for bar in figure.get_axes()[1].patches] == [0.75, 0.25]
    assert len(tp.draw(said).get_axes()) == 1  # without photographs the bars alone


def test_predictions_need_as_many_photographs() -> None:
    with pytest.raises(tp.TapetumError, match="predictions of 1 images need 1 photographs, got 2"):
        tp.draw([[tp.Prediction(0, "cat", 1.0)]], pixels=torch.zeros(2, 3, 8, 8))
