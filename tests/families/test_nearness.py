"""Near classes: closed forms of likeness, and the classes that a real network is known to confuse."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo import pictures, shared

import tapetum as tp
from tapetum.families.nearness import near_among
from tapetum.types import MethodError, TargetError


class Heads(nn.Module):
    """Four classes: 0 and 1 have almost equal weights, 2 the opposite ones, 3 others."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, dtype=torch.float64)
        self.head = nn.Linear(2, 4, dtype=torch.float64)
        self.head.weight.data = torch.tensor([[3.0, 0.1], [3.0, -0.1], [-6.0, 0.0], [0.0, 2.0]], dtype=torch.float64)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.conv(images).mean((2, 3)))


def test_likeness_is_the_cosine_of_centered_class_weights() -> None:
    found = tp.near_classes(tp.wrap(Heads(), size=16, labels=["a", "b", "c", "d"]), "a", k=3)
    rows = Heads().head.weight.detach()
    rows = rows - rows.mean(0)
    expected = {i: float(rows[0] @ rows[i] / rows[0].norm() / rows[i].norm()) for i in (1, 2, 3)}
    assert [one.index for one in found] == sorted(expected, key=lambda i: -expected[i])
    assert [one.likeness for one in found] == pytest.approx(sorted(expected.values(), reverse=True))
    assert (found[0].label, found[-1].label) == ("b", "c")


def test_answers_to_pictures_decide_where_they_are_given() -> None:
    model, images = shared("residual"), pictures(3)
    p = model(images).softmax(1)
    found = {one.index: one.likeness for one in tp.near_classes(model, 2, k=9, images=images)}
    for other in (0, 1, 3, 4):
        assert found[other] == pytest.approx(float(torch.minimum(p[:, 2], p[:, other]).sum() / p[:, 2].sum()))
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_an_answer_is_split_among_near_classes_alone() -> None:
    model = tp.wrap(Heads(), size=16)
    line = tp.Prediction
    assert near_among(model, [line(0, None, 0.4), line(1, None, 0.3), line(2, None, 0.2)]) == [0, 1]
    assert near_among(model, [line(0, None, 0.4), line(2, None, 0.3)]) == []  # near in probability, not in weights
    assert near_among(model, [line(0, None, 0.59), line(1, None, 0.05)]) == []  # less than a tenth
    assert near_among(model, [line(0, None, 0.6), line(1, None, 0.4)]) == []  # not split


def test_real_weights_name_the_classes_that_people_confuse() -> None:
    model = tp.load("efficientnet_lite0")
    nearest = {name: tp.near_classes(model, name, k=1)[0].label for name in ("tiger cat", "Siberian husky", "coffee mug")}
    assert nearest == {"tiger cat": "tabby", "Siberian husky": "Eskimo dog", "coffee mug": "cup"}


class Bare(nn.Module):
    """Three logits without a linear layer."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


def test_networks_without_class_weights_and_other_outputs_are_refused_in_a_line() -> None:
    with pytest.raises(MethodError, match="no linear layer with a row per class: give images"):
        tp.near_classes(tp.wrap(Bare(), size=16), 0)
    with pytest.raises(TargetError, match="does not choose one of several classes"):
        tp.near_classes(tp.wrap(Heads(), size=16, outputs="sigmoid"), 0)
    with pytest.raises(TargetError):
        tp.near_classes(tp.wrap(Heads(), size=16), 4)
    with pytest.raises(MethodError, match="from 1 up"):
        tp.near_classes(tp.wrap(Heads(), size=16), 0, k=0)
