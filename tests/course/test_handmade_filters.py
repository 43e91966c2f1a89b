"""The toy experiment in closed form: every number at the edge, on the line and at the border."""

from __future__ import annotations

import torch
import torch.nn.functional as F

import tapetum as tp

TOY = tp.toy_selectivity()
EDGE, LINE = TOY.responses
VERTICAL, HORIZONTAL, DIAGONAL = range(3)


def test_the_images_and_filters_are_those_of_the_experiment() -> None:
    assert TOY.images.shape == (2, 10, 10)
    assert TOY.images[0].sum() == 50
    assert bool((TOY.images[0, :, 5:] == 1).all())
    assert torch.equal(TOY.images[1], torch.eye(10, dtype=torch.float64))
    assert TOY.responses.shape == (2, 3, 10, 10)
    assert TOY.top == 3


def test_the_vertical_filter_finds_the_edge_and_nothing_inside_the_areas() -> None:
    row = [0, 0, 0, 0, 3, 3, 0, 0, 0, -3]  # columns 4 and 5 touch the edge; column 9 meets the zeros outside
    assert EDGE[VERTICAL, 1:9].tolist() == [row] * 8
    assert EDGE[VERTICAL, 0].tolist() == EDGE[VERTICAL, 9].tolist() == [value * 2 / 3 for value in row]  # a row less


def test_the_horizontal_filter_sees_only_the_padding() -> None:
    assert not EDGE[HORIZONTAL, 1:9].any()
    assert EDGE[HORIZONTAL, 0].tolist() == [0, 0, 0, 0, 1, 2, 3, 3, 3, 2]
    assert EDGE[HORIZONTAL, 9].tolist() == [0, 0, 0, 0, -1, -2, -3, -3, -3, -2]


def test_the_diagonal_filter_ignores_straight_edges() -> None:
    assert not EDGE[DIAGONAL, 1:9].any()
    assert EDGE[DIAGONAL, 0].tolist() == [0, 0, 0, 0, 0.5, 1, 0, 0, 0, -0.5]


def test_on_the_line_the_diagonal_filter_is_a_perfect_fit_and_the_others_answer_one() -> None:
    assert LINE[DIAGONAL].diagonal().tolist() == [2, *[3] * 8, 2]
    assert LINE[DIAGONAL].diagonal(1).tolist() == [-1] * 9
    assert LINE[DIAGONAL].diagonal(2).tolist() == [-0.5] * 8
    for filtered in (LINE[VERTICAL], LINE[HORIZONTAL].T):
        assert filtered.diagonal()[1:9].tolist() == [0] * 8
        assert filtered.diagonal(-1)[1:8].tolist() == [1] * 7
        assert filtered.diagonal(1)[1:8].tolist() == [-1] * 7
    assert float(LINE[[VERTICAL, HORIZONTAL]].abs().max()) == 1


def test_it_is_torchs_convolution_with_padding_one() -> None:
    assert torch.equal(TOY.responses, F.conv2d(TOY.images[:, None], TOY.kernels[:, None], padding=1))


def test_it_prints_and_draws_the_same_scale_in_every_panel() -> None:
    assert "vertical edge  diagonal    1        -1" in str(TOY)
    assert len(tp.draw(TOY).get_axes()) == 3 + 2 * 4
