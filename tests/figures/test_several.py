"""Lists have figures too: the layers of one image by depth, and what a model says with names and probabilities."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from zoo import pictures, shared

import tapetum as tp
from tapetum.figures.words import layer_name


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


def test_long_names_of_layers_lose_whole_segments_from_the_front() -> None:
    assert layer_name("features.29") == "features.29"
    assert layer_name("encoder.layers.encoder_layer_11") == "…encoder_layer_11"
    assert layer_name("encoder.layers.encoder_layer_11.mlp.0", 30) == "…layers.encoder_layer_11.mlp.0"
    assert layer_name("a" * 30) == "…" + "a" * 19
    assert all(len(layer_name("part.of.a.network." * 3 + "end", most)) <= most for most in range(4, 60))


def test_a_long_title_becomes_smaller_and_stays_on_the_page() -> None:
    found = tp.activation_maps(shared("residual"), pictures(1), layers=["stem"], k=3)[0]
    widths = []
    for name in ("stem", "a.very.deep.module.with.a.name.of.many.segments.at.the.end.of.it"):
        figure = tp.draw(tp.ActivationMaps(found.values, found.channels, name, found.size, found.by))
        title = next(text for text in figure.texts if name in text.get_text())
        assert title.get_window_extent().x1 <= figure.bbox.width
        widths.append(title.get_fontsize())
    assert widths[0] > widths[1]


def test_relevant_channels_are_shown_with_their_sums_or_as_none_at_all() -> None:
    model, x = shared("reused"), pictures(2)
    found = tp.concept_relevance(model, x, [1, 3], k=2)
    told = words(tp.draw(found))
    assert {f"channel {channel}" for channel in found.channels.flatten().tolist()} <= set(told)
    below = [one.get_xlabel() for one in tp.draw(found).get_axes()]
    assert all(any(one.startswith(f"{value:+.3g}") for one in below) for value in found.relevance.flatten().tolist())
    nothing = tp.draw(replace(found, values=torch.zeros_like(found.values)))
    assert words(nothing).count("no channel") == 2  # a panel an image that says so, instead of blank maps
    assert not any(one.startswith("channel ") for one in words(nothing))
