"""Grad-CAM of given numbers: every number against a closed form."""

from __future__ import annotations

import pytest
import torch

import tapetum as tp
from tapetum.types import MethodError

A = [[[1, 0], [0, 2]], [[0, 3], [1, 0]], [[2, 0], [0, 1]]]
WEIGHTS = [0.8, 0.1, 0.5]


def test_the_worked_example_by_hand() -> None:
    steps = tp.grad_cam_by_hand(A, WEIGHTS)
    # 0.8*1 + 0.5*2 = 1.8; 0.1*3 = 0.3; 0.1*1 = 0.1; 0.8*2 + 0.5*1 = 2.1
    torch.testing.assert_close(steps.total[0, 0], torch.tensor([[1.8, 0.3], [0.1, 2.1]], dtype=torch.float64))
    torch.testing.assert_close(steps.weighted[0, 0, 0], torch.tensor([[0.8, 0.0], [0.0, 1.6]], dtype=torch.float64))
    assert "0.8*1 + 0.1*0 + 0.5*2 = 1.8" in str(steps)
    assert steps.heatmap.shape == (1, 1, 8, 8)


def test_the_relu_takes_away_what_speaks_against_the_class_and_nothing_else() -> None:
    steps = tp.grad_cam_by_hand(A, [WEIGHTS, [-0.6, 0.9, 0.1]], names=["cat", "dog"])
    torch.testing.assert_close(steps.total[0, 1], torch.tensor([[-0.4, 2.7], [0.9, -1.1]], dtype=torch.float64))
    torch.testing.assert_close(steps.positive[0, 1], torch.tensor([[0.0, 2.7], [0.9, 0.0]], dtype=torch.float64))
    assert "-0" not in str(steps).replace("-0.", "").split()


def test_weights_are_the_means_of_gradients() -> None:
    gradients = torch.tensor([[[1.6, 0.0], [0.8, 0.8]], [[0.1, 0.1], [0.1, 0.1]], [[2.0, 0.0], [0.0, 0.0]]])
    by_gradients = tp.grad_cam_by_hand(A, gradients=gradients)
    assert by_gradients.weights[0, 0].tolist() == pytest.approx(WEIGHTS)
    torch.testing.assert_close(by_gradients.total, tp.grad_cam_by_hand(A, WEIGHTS).total)


@pytest.mark.parametrize(
    ("activations", "keywords", "words"),
    [
        (A, {}, "either weights"),
        (A, {"weights": WEIGHTS, "gradients": A}, "either weights"),
        (A, {"weights": [0.8, 0.1]}, "3 channels were given and 2 weights"),
        (A, {"weights": WEIGHTS, "names": ["cat", "dog"]}, "1 classes were given and 2 names"),
        ([[1, 0], [0, 2]], {"weights": WEIGHTS}, "activations are finite numbers"),
        ([[[1, float("nan")]]], {"weights": [1]}, "finite"),
        ([[[1, 0], [2]]], {"weights": [1]}, "equal length"),
        (A, {"gradients": [[[1, 2], [3, 4]]]}, "do not fit"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(activations: list, keywords: dict, words: str) -> None:
    with pytest.raises(MethodError, match=words):
        tp.grad_cam_by_hand(activations, **keywords)
