"""Sheets of planted pictures, and maps with the outlines of their masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tapetum as tp
from tapetum.types import Attribution, TapetumError


def words(figure: Any) -> list[str]:
    axes = figure.get_axes()
    heads = [place for one in axes for place in (one.get_title(loc="left"), one.get_xlabel())]
    return [*(text.get_text() for text in figure.texts), *heads]


def test_a_sheet_names_the_class_and_what_the_cue_says() -> None:
    data = tp.planted("objects", n=20, classes=("husky", "wolf"), shortcut="background", rate=0.5)
    told = words(tp.draw(data))
    assert "Planted objects, 64 x 64 px (16 of 20)" in told
    assert told.count("husky") == data.targets[:16].tolist().count(0)
    assert told.count("cue: wolf") == data.cues[:16].tolist().count(1)
    assert f"the cue speaks for the own class in {data.aligned.float().mean():.0%}" in told[1]


def test_the_mask_below_a_picture_is_the_mask() -> None:
    data = tp.planted(n=1, shortcut="border")
    shown = tp.draw(data).get_axes()[0].images[0].get_array()
    below = torch.as_tensor(shown)[-64:]
    assert torch.equal((below == 1).all(-1), data.masks[0])
    assert torch.equal((below[..., 1] - below[..., 0]).abs() > 0.1, data.cue_masks[0])


def test_each_map_has_its_number_and_the_outline() -> None:
    values = torch.zeros(2, 1, 8, 8)
    values[0, 0, 2:4, 2:4] = 1
    values[1] = -1
    given = Attribution(values, "by_hand", ("ok", "no_positive_evidence"), ("a costly $", "b"), size=(8, 8))
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[:, 2:4, 2:6] = True
    result = tp.relevance_mass(given, masks)
    figure = tp.draw(result, pixels=torch.zeros(2, 3, 8, 8))
    assert {"1.00", "no positive evidence", "a costly $", "Relevance mass of by_hand"} <= set(words(figure))
    assert all(len(axes.collections) == 2 for axes in figure.get_axes())
    with pytest.raises(TapetumError, match="2 maps need 2 pictures, got 1"):
        tp.draw(result, pixels=torch.zeros(1, 3, 8, 8))
