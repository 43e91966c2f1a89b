"""Targets that are classes, contrasts and plain outputs: each score is its formula, row by row, however it is spelled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from zoo import pictures, shared, wrapped

import tapetum as tp
from tapetum.engines.scores import as_score, check_target
from tapetum.types import LayerError, TargetError, Unit

IMAGES = pictures(2)
EXACT = {"rtol": 1e-12, "atol": 1e-14}  # the same few float64 operations in another order


def values(model: Any, target: Any, images: Tensor = IMAGES, scale: Any = "logit") -> list[float]:
    return as_score(model, images, target, scale)(images).tolist()


def table(name: str = "residual") -> list[list[float]]:
    return shared(name)(IMAGES).tolist()


def test_each_scale_is_its_formula() -> None:
    model = shared("residual")
    for row, logits in enumerate(table()):
        total = math.log(sum(math.exp(one) for one in logits))
        image = IMAGES[row : row + 1]
        assert values(model, tp.logit(2), image) == pytest.approx([logits[2]], rel=1e-12)
        assert values(model, tp.log_probability(2), image) == pytest.approx([logits[2] - total], rel=1e-12)
        assert values(model, tp.probability(2), image) == pytest.approx([math.exp(logits[2] - total)], rel=1e-12)
        odds = 1 / (1 + math.exp(logits[1] - logits[3]))
        assert values(model, tp.probability(tp.contrast(3, 1)), image) == pytest.approx([odds], rel=1e-12)
        assert values(model, tp.log_probability(tp.contrast(3, 1)), image) == pytest.approx([math.log(odds)], rel=1e-12)


class OneOutput(nn.Module):
    """A regression network, or a classifier with one logit; `flat` gives (n,)."""

    def __init__(self, flat: bool = False) -> None:
        super().__init__()
        self.conv, self.linear, self.flat = nn.Conv2d(3, 4, 3), nn.Linear(4, 1), flat

    def forward(self, images: Tensor) -> Tensor:
        out = self.linear(self.conv(images).relu().mean((2, 3)))
        return out[:, 0] if self.flat else out


@pytest.mark.parametrize("flat", [True, False])
def test_one_output_is_a_raw_number_or_a_sigmoid(flat: bool) -> None:
    torch.manual_seed(0)
    model = wrapped(OneOutput(flat).double())
    raw = model(IMAGES).flatten().tolist()
    for target in (None, 0, tp.Output(), tp.logit(0), "output 0"):
        assert values(model, target) == raw
    # a probability method takes one output for a yes-or-no classifier; Output says that it is not one
    assert values(model, tp.Output(0), scale="probability") == raw
    sigmoid = [1 / (1 + math.exp(-one)) for one in raw]
    model.outputs = "sigmoid"
    for target, scale in ((0, "probability"), (tp.probability(), "logit"), (tp.probability(0), "logit")):
        assert values(model, target, scale=scale) == pytest.approx(sigmoid, rel=1e-12)
    assert values(model, tp.log_probability(0)) == pytest.approx([math.log(one) for one in sigmoid], rel=1e-12)
    assert tp.saliency(model, IMAGES).target == ("output 0", "output 0")
    assert tp.rise(model, IMAGES, tp.Output(), n_masks=4, cells=2).target == ("output 0", "output 0")
    with pytest.raises(TargetError, match=r"^class 1 does not exist: net has 1 classes, 0 to 0$"):
        values(model, 1)
    with pytest.raises(TargetError, match=r"^output 1 does not exist: net gives 1, 0 to 0$"):
        values(model, tp.Output(1))


def test_a_scale_that_the_target_names_wins_over_the_methods_own() -> None:
    model = shared("residual")
    assert values(model, tp.logit(2), scale="probability") == values(model, 2)
    plain, named = (tp.rise(model, IMAGES, target, n_masks=8, cells=2) for target in (2, tp.probability(2)))
    assert torch.equal(plain.values, named.values)
    assert named.target == ("probability of class 2",) * 2
    raw = tp.rise(model, IMAGES, tp.logit(2), n_masks=8, cells=2)
    assert not torch.allclose(raw.values, plain.values)


def test_the_gradient_of_a_log_probability_is_that_of_the_softmax() -> None:
    model = shared("residual")
    one = tp.input_x_gradient(model, IMAGES, tp.log_probability(1)).values
    probabilities = model(IMAGES).softmax(1)
    classes = [tp.input_x_gradient(model, IMAGES, k).values for k in range(5)]
    expected = classes[1] - sum(probabilities[:, k].view(2, 1, 1, 1) * classes[k] for k in range(5))
    torch.testing.assert_close(one, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    "targets",
    [
        [tp.probability(1), tp.probability(3)],
        [tp.logit(0), tp.log_probability(tp.contrast(1, 2))],
        [2, tp.probability(2)],
        [tp.Output(1), tp.Output(4)],
        [tp.probability(), tp.probability()],
    ],
    ids=str,
)
def test_a_target_for_each_image_is_that_target_alone(targets: list[Any]) -> None:
    model = shared("residual")
    both = as_score(model, IMAGES, targets)
    one, two = (values(model, target, IMAGES[row : row + 1]) for row, target in enumerate(targets))
    torch.testing.assert_close(both(IMAGES), torch.tensor([*one, *two], dtype=IMAGES.dtype), **EXACT)
    torch.testing.assert_close(both.take([1, 0, 1])(IMAGES[[1, 0, 1]])[1], both(IMAGES)[0], **EXACT)
    again = as_score(model, IMAGES, both.explains(2))
    assert torch.equal(again(IMAGES), both(IMAGES))
    maps = tp.occlusion(model, IMAGES, targets, window=8, stride=8)
    for row, target in enumerate(maps.explains):
        alone = tp.occlusion(model, IMAGES[row : row + 1], target, window=8, stride=8)
        torch.testing.assert_close(maps.values[row], alone.values[0], **EXACT)


TEXTS = {
    "1": 1,
    "class 1": 1,
    "1 - 3": tp.contrast(1, 3),
    "class 1 rather than class 3": tp.contrast(1, 3),
    "1 vs 3": tp.contrast(1, 3),
    "probability of 2": tp.probability(2),
    "logit of 2": tp.logit(2),
    "log-probability of 2 - 0": tp.log_probability(tp.contrast(2, 0)),
    "probability of the predicted class": tp.probability(),
    "output 3": tp.Output(3),
    "second:5": tp.Unit("second", 5),
    "second:5@1,2": tp.Unit("second", 5, (1, 2)),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_the_target_that_it_spells(text: str) -> None:
    model = shared("residual")
    assert check_target(model, IMAGES, text)[0] == TEXTS[text]
    score = as_score(model, IMAGES, text)
    for row, words in enumerate(score.describe(2)):  # and what is written in captions can be read again
        assert values(model, words, IMAGES[row : row + 1]) == pytest.approx([float(score(IMAGES)[row])], rel=1e-12)


def test_labels_come_before_other_meanings_of_a_text() -> None:
    names = ("a - b", "output 1", "fc:1", "tabby cat", "dog")
    model = tp.wrap(shared("residual").module, size=16, mean=(0.0,) * 3, std=(1.0,) * 3, labels=names)
    for index, name in enumerate(names):
        assert values(model, name) == values(model, index)
    assert values(model, "tabby - dog") == values(model, tp.contrast(3, 4))
    assert values(model, "probability of tabby rather than dog") == values(model, tp.probability(tp.contrast(3, 4)))
    assert as_score(model, IMAGES, "tabby vs dog").describe(2)[0] == "tabby cat rather than dog"
    with pytest.raises(TargetError, match='no label "tabby:3"'):
        values(model, "tabby:3")


REFUSED = {
    "no:1": (LayerError, "no layer 'no' in residual"),
    "*:1": (LayerError, "means 12 layers of residual"),
    "second:99": (TargetError, "unit second:99 does not exist"),
    "output 9": (TargetError, r"^output 9 does not exist: residual gives 5, 0 to 4$"),
    "probability of 7": (TargetError, r"^class 7 does not exist: residual has 5 classes, 0 to 4$"),
    "1 - 7": (TargetError, "class 7 does not exist"),
    "1@2,3,4,5": (TargetError, r"^residual is not a detector: a box is no target for it; give a class$"),
    "similarity to a cat": (TargetError, r'^residual has no text tower to read "a cat"'),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_text_that_means_nothing_here_is_refused_in_one_line(text: str) -> None:
    kind, pattern = REFUSED[text]
    with pytest.raises(kind, match=pattern) as caught:
        values(shared("residual"), text)
    assert "\n" not in str(caught.value)


def test_targets_of_two_kinds_in_one_call_are_refused() -> None:
    with pytest.raises(TargetError, match="of one kind"):
        values(shared("residual"), [1, tp.Unit("second", 0)])
    with pytest.raises(TargetError, match="is no target: give a class"):
        values(shared("residual"), [1.5, 1.5])


@dataclass
class Heads:
    age: Tensor
    kind: Tensor


class Several(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.conv, self.age, self.kind, self.form = nn.Conv2d(3, 4, 3), nn.Linear(4, 1), nn.Linear(4, 3), form

    def forward(self, images: Tensor) -> Any:
        x = self.conv(images).relu().mean((2, 3))
        age, kind = self.age(x)[:, 0], self.kind(x)
        return {"tuple": (age, kind), "dict": {"age": age, "kind": kind}, "dataclass": Heads(age, kind)}[self.form]


@pytest.mark.parametrize("form", ["tuple", "dict", "dataclass"])
def test_one_head_of_several_is_chosen_by_its_key_or_place(form: str) -> None:
    torch.manual_seed(0)
    model = wrapped(Several(form).double())
    answer: Any = model(IMAGES)
    first, second = {"tuple": (0, 1), "dict": ("age", "kind"), "dataclass": ("age", "kind")}[form]
    age, kind = answer if form == "tuple" else (answer["age"], answer["kind"]) if form == "dict" else (answer.age, answer.kind)
    assert values(model, tp.Output(0, first)) == age.tolist()
    assert values(model, tp.Output(2, second)) == kind[:, 2].tolist()
    assert values(model, [tp.Output(0, first), tp.Output(1, second)]) == [float(age[0]), float(kind[1, 1])]
    assert values(model, f"output 2 of {second}") == kind[:, 2].tolist()
    assert tp.grad_cam(model, IMAGES, tp.Output(2, second)).status == ("ok", "ok")
    with pytest.raises(TargetError, match=r"gives no output ('size'|7)") as caught:
        values(model, tp.Output(0, 7 if form == "tuple" else "size"))
    assert "\n" not in str(caught.value)


def test_faithfulness_is_measured_by_the_probability_of_a_class_and_by_any_other_score_itself() -> None:
    model = shared("residual")
    probability = model(IMAGES).softmax(1)[:, 2]
    for target in (2, tp.probability(2), tp.log_probability(2), tp.logit(2)):
        result = tp.deletion(model, IMAGES, tp.saliency(model, IMAGES, target), n_steps=2)
        assert result.measures == "probability"
        torch.testing.assert_close(result.curve[:, 0], probability, **EXACT)
    for target in (tp.Output(2), lambda output: output[:, 2], tp.Unit("second", 1), tp.Similarity(torch.arange(5.0) + 1)):
        result = tp.insertion(model, IMAGES, tp.saliency(model, IMAGES, target), n_steps=2)
        assert result.measures == "score"
        torch.testing.assert_close(result.curve[:, -1], as_score(model, IMAGES, target)(IMAGES), **EXACT)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (np.array([1, 2]), [1, 2]),
        (np.array([[1], [2]]), [1, 2]),
        ([np.array(1), np.array([2])], [1, 2]),
        ([torch.tensor(1), torch.tensor([2])], [1, 2]),
        ((np.int64(1), torch.tensor(2)), [1, 2]),
        (torch.tensor([1, 2]), [1, 2]),
        (torch.tensor([[1], [2]], dtype=torch.int32), [1, 2]),
        (np.int64(3), 3),
        (np.array(3), 3),
        (torch.tensor(3), 3),
        (lambda: tp.contrast(np.int64(1), torch.tensor(2)), tp.contrast(1, 2)),
        (lambda: [tp.probability(np.int64(1)), tp.probability(torch.tensor(2))], [tp.probability(1), tp.probability(2)]),
        (lambda: tp.Output(torch.tensor(1)), tp.Output(1)),
        (lambda: Unit("first", np.int64(1), (torch.tensor(0), np.int8(2))), Unit("first", 1, (0, 2))),
        (np.array(["first:1", "first:2"]), ["first:1", "first:2"]),
    ],
)
def test_targets_that_come_out_of_arrays_are_those_of_python(given: Any, wanted: Any) -> None:
    model, given = shared("residual"), given() if callable(given) else given
    assert values(model, given) == values(model, wanted)
    assert as_score(model, IMAGES, given).explains(2) == as_score(model, IMAGES, wanted).explains(2)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.array([1.0, 2.0]), r"^1.0 is no target: give a class \(index or name\)"),
        ([torch.tensor(1.5)] * 2, r"^1.5 is no target: give a class"),
        ([np.array([1, 2])] * 2, r"^\[1, 2\] is no target: give a class"),
        (np.array([True, False]), r"^True is no target: give a class"),
        (lambda: tp.contrast(torch.tensor(1.0), 2), r"^1.0 is no target: give a class"),
        (lambda: tp.Output(np.array([1, 2])), r"^an output has an index from 0 up, not \[1, 2\]$"),
        (np.array([1, 2, 3]), r"^3 targets were given for 2 images: one per image, or one for all$"),
        (np.zeros(0, dtype=int), r"^0 targets were given for 2 images"),
        (np.array([1, 9]), r"^class 9 does not exist: residual has 5 classes, 0 to 4$"),
    ],
)
def test_arrays_that_are_no_targets_are_refused_in_a_line(target: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        as_score(shared("residual"), IMAGES, target() if callable(target) else target)
