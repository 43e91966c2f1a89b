"""Figures of metrics: a bar per image with the reason for NaN, points for parts, a curve."""

from __future__ import annotations

from typing import Any

import matplotlib.text
import pytest
import torch

import tapetum as tp
from tapetum.types import Evaluation
from tapetum.types.outcomes import REASONS, Outcome


def evaluation(values: list[float], status: tuple[Outcome, ...], **more: Any) -> Evaluation:
    value = torch.tensor(values)
    empty = torch.zeros(len(values), 0), torch.zeros(0)
    return Evaluation("average_drop", value, *empty, "lower", status=status, **more)


def words(figure: Any) -> str:
    return " | ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def test_every_image_has_a_bar_or_the_reason_why_it_has_none() -> None:
    status: tuple[Outcome, ...] = ("ok", *REASONS)
    figure: Any = tp.draw(evaluation([0.25, *[torch.nan] * len(REASONS)], status, limits=(0.0, 1.0)))
    shown = words(figure)
    assert "0.25" in shown
    assert all(f" {reason}" in shown for reason in REASONS.values())
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == [0.25] + [0] * len(REASONS)


@pytest.mark.parametrize("values", [[torch.nan], [0.0], [-3.0, 2.0], [1e9]])
def test_numbers_without_limits_fit_into_the_axes(values: list[float]) -> None:
    status: tuple[Outcome, ...] = tuple("ok" if one == one else "constant" for one in values)
    figure: Any = tp.draw(evaluation(values, status))
    low, high = figure.axes[0].get_xlim()
    assert all(low <= one <= high for one in values if one == one)


def test_parts_are_points_of_what_the_map_gives_against_the_fall() -> None:
    parts = {"attributed": torch.tensor([[1.0, -4.0, 2.0]]), "drop": torch.tensor([[0.5, -1.0, 0.25]])}
    figure: Any = tp.draw(evaluation([0.8], ("ok",), parts=parts))
    points = figure.axes[0].collections[0].get_offsets()
    assert points.tolist() == [[0.25, 0.5], [-1.0, -1.0], [0.5, 0.25]]


def test_the_words_count_what_has_no_number() -> None:
    result = evaluation([0.25, 0.35, torch.nan, torch.nan], ("ok", "ok", "constant", "constant"))
    assert str(result) == "average drop, lower is better: 0.300 on average of 2 images; without a number: 2 constant map"
    assert result.mean == pytest.approx(0.3)
    assert str(result[2]).endswith("undefined; without a number: 1 constant map")
