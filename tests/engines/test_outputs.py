"""What the numbers of an answer are: said, or found out; each probability against its formula on the plain module."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from zoo import pictures

import tapetum as tp
from tapetum.engines.scores import as_score
from tapetum.models.zoo.wrapping import checked_outputs
from tapetum.types import ModelError, TargetError

IMAGES = pictures(2)
PLAIN = {"size": 16, "mean": (0.0,) * 3, "std": (1.0,) * 3}
LOGITS = torch.tensor([[3.0, 3.0, -3.0], [0.5, -1.0, 2.0]], dtype=torch.float64)
EXACT = {"rel": 1e-9, "abs": 1e-12}


class Table(nn.Module):
    """The same numbers for the same place in the batch, plus a little of the image, so that gradients exist."""

    def __init__(self, numbers: Tensor, end: Callable[[Tensor], Any] = lambda table: table) -> None:
        super().__init__()
        self.register_buffer("numbers", numbers)
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))
        self.end = end

    def forward(self, images: Tensor) -> Any:
        about = self.scale * (images.mean((1, 2, 3)) * 1e-6)[:, None]
        return self.end(self.numbers[torch.arange(len(images)) % len(self.numbers)] + about)


def table(end: Callable[[Tensor], Any] = lambda table: table, numbers: Tensor = LOGITS, **about: Any) -> Any:
    return tp.wrap(Table(numbers, end), **PLAIN, **about)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(row: list[float]) -> list[float]:
    total = sum(map(math.exp, row))
    return [math.exp(one) / total for one in row]


def probabilities(model: Any) -> list[dict[int, float]]:
    return [{one.index: one.probability for one in row} for row in tp.predict(model, IMAGES, k=9)]


def values(model: Any, target: Any, scale: Any = "logit") -> list[float]:
    return as_score(model, IMAGES, target, scale)(IMAGES).tolist()


def near(expected: Any) -> Any:
    return pytest.approx(expected, abs=1e-5)  # the image moves the numbers by some 1e-6


# --- what they are


@pytest.mark.parametrize(
    ("end", "outputs", "expected"),
    [
        (lambda z: z, "auto", softmax),
        (lambda z: z, "logits", softmax),
        (lambda z: z.softmax(1), "auto", softmax),
        (lambda z: z.softmax(1), "probabilities", softmax),
        (lambda z: z.log_softmax(1), "auto", softmax),
        (lambda z: z.log_softmax(1), "log_probabilities", softmax),
        (lambda z: z, "sigmoid", lambda row: [sigmoid(one) for one in row]),
        (lambda z: z.sigmoid(), "auto", lambda row: [sigmoid(one) for one in row]),
        (lambda z: torch.sigmoid(z).reshape(len(z), -1), "auto", lambda row: [sigmoid(one) for one in row]),
        (lambda z: nn.Sigmoid()(z), "probabilities", lambda row: [sigmoid(one) for one in row]),
        (lambda z: 1 - (1 - z.sigmoid()), "auto", lambda row: [sigmoid(one) for one in row]),
        (lambda z: z.sigmoid().cumprod(1), "auto", lambda row: [math.prod(map(sigmoid, row[: i + 1])) for i in range(3)]),
        (lambda z: z.sigmoid() * z.sigmoid(), "auto", lambda row: [sigmoid(one) ** 2 for one in row]),
        (lambda z: z.sigmoid(), "sigmoid", lambda row: [sigmoid(one) for one in row]),  # none is added to the network's own
    ],
)
def test_probabilities_are_squashed_once(end: Any, outputs: Any, expected: Callable[[list[float]], list[float]]) -> None:
    model = table(end, outputs=outputs)
    for row, found in enumerate(probabilities(model)):
        assert [found[i] for i in range(3)] == near(expected(LOGITS[row].tolist()))
    for index in range(3):
        wanted = [expected(LOGITS[row].tolist())[index] for row in range(2)]
        assert values(model, tp.probability(index)) == near(wanted)
        assert values(model, tp.log_probability(index)) == near([math.log(one) for one in wanted])
        assert values(model, index) == near(end(LOGITS)[:, index].tolist())  # a class's score is what the network gives


def test_a_contrast_is_the_difference_of_logits_whatever_the_network_ends_in() -> None:
    ends = [(lambda z: z, "auto"), (lambda z: z.softmax(1), "auto"), (lambda z: z.log_softmax(1), "auto")]
    ends += [(lambda z: z, "sigmoid"), (lambda z: z.sigmoid(), "auto")]
    wanted = (LOGITS[:, 0] - LOGITS[:, 2]).tolist()
    for end, outputs in ends:
        model = table(end, outputs=outputs)
        assert values(model, tp.contrast(0, 2)) == near(wanted)
        assert values(model, tp.probability(tp.contrast(0, 2))) == near([sigmoid(one) for one in wanted])


def test_a_union_is_the_log_sum_exp_and_its_probability_the_sum() -> None:
    rows = LOGITS.tolist()
    log_sum = [math.log(math.exp(row[0]) + math.exp(row[2])) for row in rows]
    assert values(table(), tp.union(0, 2)) == near(log_sum)
    sums = [softmax(row)[0] + softmax(row)[2] for row in rows]
    for end in (lambda z: z, lambda z: z.softmax(1), lambda z: z.log_softmax(1)):
        assert values(table(end), tp.probability(tp.union(0, 2))) == near(sums)
        assert values(table(end), tp.log_probability(tp.union(0, 2))) == near([math.log(one) for one in sums])
    either = [1 - (1 - sigmoid(row[0])) * (1 - sigmoid(row[2])) for row in rows]  # labels that do not exclude each other
    for end, outputs in ((lambda z: z, "sigmoid"), (lambda z: z.sigmoid(), "auto")):
        assert values(table(end, outputs=outputs), tp.probability(tp.union(0, 2))) == near(either)
        assert values(table(end, outputs=outputs), tp.log_probability(tp.union(0, 2))) == near(list(map(math.log, either)))


def test_a_union_reads_and_writes_as_text() -> None:
    model = table(labels=["cat", "dog", "car"])
    score = as_score(model, IMAGES, "cat or dog")
    assert score.describe(2) == ("cat or dog",) * 2
    assert score(IMAGES).tolist() == values(model, tp.union(0, 1))
    assert values(model, "probability of cat or dog") == values(model, tp.probability(tp.union("cat", "dog")))
    with pytest.raises(TargetError, match="at least two classes"):
        tp.union(1)


# --- one number


ONE = torch.tensor([[4.0], [-1.5]], dtype=torch.float64)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(
    ("end", "outputs"),
    [(lambda z: z, "auto"), (lambda z: z, "sigmoid"), (lambda z: z, "logits"), (lambda z: z.sigmoid(), "auto")],
)
def test_one_logit_with_two_names_is_the_second_names(end: Any, outputs: Any, flat: bool) -> None:
    model = table(lambda z: end(z)[:, 0] if flat else end(z), ONE, labels=["benign", "malignant"], outputs=outputs)
    first = tp.predict(model, IMAGES)
    assert [one.label for one in first[0]] == ["malignant", "benign"]
    assert [one.probability for one in first[0]] == near([sigmoid(4), sigmoid(-4)])
    assert first[1][0].label == "benign"
    assert values(model, tp.probability("malignant")) == near([sigmoid(4), sigmoid(-1.5)])
    assert values(model, tp.probability("benign")) == near([sigmoid(-4), sigmoid(1.5)])
    assert values(model, tp.contrast("malignant", "benign")) == near([4.0, -1.5])
    assert tp.saliency(model, IMAGES).target == ("malignant", "benign")


def test_the_two_names_of_one_logit_have_opposite_gradients() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)).double()
    model = tp.wrap(net, **PLAIN, labels=["benign", "malignant"])
    leaf = IMAGES.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(net(leaf).sum(), leaf)
    malignant, benign = (tp.input_x_gradient(model, IMAGES, one).values for one in ("malignant", "benign"))
    torch.testing.assert_close(malignant, wanted * IMAGES)
    assert torch.equal(benign, -malignant)


def test_a_number_has_no_probability() -> None:
    age = table(numbers=torch.tensor([[58.0], [31.0]], dtype=torch.float64))
    found = tp.predict(age, IMAGES)
    assert found[0] == [tp.Number(0, None, near(58.0))]
    assert not hasattr(found[0][0], "probability")
    maps = tp.occlusion(age, IMAGES, window=8, stride=8)
    assert maps.target == ("output 0",) * 2
    assert any("a number, no probability" in note and "wrap(outputs='sigmoid')" in note for note in maps.notes)
    assert tp.deletion(age, IMAGES, maps).measures == "score"
    assert values(age, 0, "probability") == near([58.0, 31.0])  # a method's own scale gives way
    with pytest.raises(TargetError, match=r"numbers that are no probabilities.*tp\.Output"):
        values(age, tp.probability(0))
    with pytest.raises(TargetError, match="no union"):
        values(table(outputs="numbers"), tp.union(0, 1))


def test_several_numbers_have_names_and_no_answer() -> None:
    model = table(outputs="numbers", labels=["x", "y", "z"])
    assert tp.predict(model, IMAGES, k=2)[0] == [tp.Number(0, "x", near(3.0)), tp.Number(1, "y", near(3.0))]
    assert values(model, "z") == near([-3.0, 2.0])
    with pytest.raises(TargetError, match=r"3 numbers, none of which is its answer: give a target"):
        tp.saliency(model, IMAGES)


def test_one_picture_whose_logits_happen_to_sum_to_1_has_logits_all_the_same() -> None:
    class Chance(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.stack([images[:, 0].mean((1, 2)), images[:, 1].mean((1, 2)), images[:, 2].mean((1, 2))], 1) * 4

    images = torch.tensor([0.05, 0.08, 0.12], dtype=torch.float64)[None, :, None, None].expand(1, 3, 16, 16).clone()
    found = tp.predict(tp.wrap(Chance(), **PLAIN), images)[0]
    assert [one.probability for one in found] == pytest.approx(sorted(softmax([0.2, 0.32, 0.48]))[::-1], rel=1e-5)


# --- what is said and cannot be


@pytest.mark.parametrize(
    ("end", "outputs", "words"),
    [
        (lambda z: z, "probabilities", "no probabilities: outputs='logits'"),
        (lambda z: z, "log_probabilities", "no logarithms"),
        (lambda z: z.softmax(1), "logits", "say outputs='probabilities'"),
        (lambda z: z.softmax(1), "sigmoid", "say outputs='probabilities'"),
        (lambda z: z.log_softmax(1), "logits", "say outputs='log_probabilities'"),
    ],
)
def test_numbers_that_are_something_else_are_refused(end: Any, outputs: Any, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        tp.predict(table(end, outputs=outputs), IMAGES)


@pytest.mark.parametrize(
    "end", [lambda z: (z / 6 + 0.5).clamp(0.01, 0.99), lambda z: (-z.abs()).exp()[:, :2], lambda z: torch.erf(z.abs() + 0.1)]
)
def test_numbers_between_0_and_1_that_may_be_anything_are_asked_about(end: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(TargetError, match=r"numbers in \[0, 1\], and nothing shows what they are: say wrap\(outputs="):
        tp.predict(table(end), IMAGES)
    found = tp.predict(table(end, outputs="probabilities"), IMAGES, k=2)[0]
    assert [one.probability for one in found] == near(sorted(end(LOGITS)[0].tolist(), reverse=True)[:2])


@pytest.mark.parametrize("end", [lambda z: z.argmax(1), lambda z: z > 0, lambda z: z.argmax(1, keepdim=True)])
def test_decisions_have_no_score(end: Callable[[Tensor], Tensor]) -> None:
    for ask in (tp.predict, tp.occlusion, tp.rise):
        with pytest.raises(TargetError, match="numbers, as argmax gives them, and a decision has no score to explain"):
            ask(table(end), IMAGES)
    model = table(lambda z: {"decision": end(z), "evidence": z})
    assert [found[0] for found in probabilities(model)] == near([softmax(row)[0] for row in LOGITS.tolist()])


def test_unknown_outputs_are_refused() -> None:
    with pytest.raises(ModelError, match="outputs is one of auto, logits, probabilities"):
        checked_outputs("softmax")
    with pytest.raises(ModelError, match="not 'raw'"):
        checked_outputs({"kind": "logits", "age": "raw"})


def test_what_was_found_out_is_said() -> None:
    for end, words in (
        (lambda z: z.softmax(1), "rows lie in [0, 1] and sum to 1"),
        (lambda z: z.sigmoid(), "ends in a sigmoid"),
        (lambda z: z.log_softmax(1), "exponentials of each row sum to 1"),
    ):
        assert any(words in note for note in tp.saliency(table(end), IMAGES, 1).notes)
        assert any(words in note for note in tp.saliency(table(end), IMAGES).notes)  # read off the same pass
    assert tp.saliency(table(), IMAGES, 1).notes == ()
    squashed = tp.rise(table(), IMAGES, 1, n_masks=4, cells=2).notes + tp.saliency(table(), IMAGES, tp.probability(1)).notes
    assert sum("(softmax): assumed" in note for note in squashed) == 2  # a probability depends on it
    assert not any("assumed" in note for note in tp.rise(table(outputs="logits"), IMAGES, 1, n_masks=4, cells=2).notes)


# --- several outputs


def heads(**about: Any) -> Any:
    return table(lambda z: {"kind": z, "age": 50 + z[:, :1]}, **about)


def test_heads_take_probability_contrast_union_and_labels() -> None:
    model = heads(labels={"kind": ["cat", "dog", "car"], "age": ["years"]}, outputs={"age": "numbers"})
    rows = LOGITS.tolist()
    kind = lambda index: tp.Output(index, "kind")  # noqa: E731
    assert values(model, tp.probability(kind("dog"))) == near([softmax(row)[1] for row in rows])
    assert values(model, tp.contrast(kind(0), kind("car"))) == near([row[0] - row[2] for row in rows])
    assert values(model, tp.probability(tp.union(kind(0), kind(2)))) == near(
        [softmax(row)[0] + softmax(row)[2] for row in rows]
    )
    assert values(model, "years of age") == near([50 + row[0] for row in rows])
    assert values(model, "probability of dog of kind") == near([softmax(row)[1] for row in rows])
    maps = tp.saliency(model, IMAGES, tp.contrast(kind("cat"), kind("dog")))
    assert maps.target == ("cat of kind rather than dog of kind",) * 2
    with pytest.raises(TargetError, match="numbers that are no probabilities"):
        values(model, tp.probability(tp.Output(0, "age")))
    with pytest.raises(TargetError, match=r"2 outputs, and nothing says which is the answer: 'kind' \(3\), 'age' \(1\)"):
        tp.saliency(model, IMAGES)


def test_a_named_head_is_the_answer() -> None:
    model = heads(labels={"kind": ["cat", "dog", "car"]})
    assert tp.predict(model, IMAGES)[1][0].label == "car"
    assert values(model, "dog") == near(LOGITS[:, 1].tolist())
    assert tp.predict(heads(head="age"), IMAGES)[0][0].value == near(53.0)
    with pytest.raises(TargetError, match="gives no output 'kinds': it gives kind, age"):
        tp.predict(heads(head="kinds"), IMAGES)


@pytest.mark.parametrize("pack", [tuple, list, lambda pair: {"features": pair[0], "answer": pair[1]}])
def test_features_beside_logits_are_told_apart_by_labels_or_refused(pack: Any) -> None:
    features = lambda z: pack((z.repeat(1, 5), z))  # noqa: E731
    model = table(features, labels=["cat", "dog", "car"])
    assert [one.label for one in tp.predict(model, IMAGES)[1]] == ["car", "cat", "dog"]
    assert values(model, "dog") == near(LOGITS[:, 1].tolist())
    with pytest.raises(TargetError, match="2 outputs, and nothing says which is the answer"):
        tp.predict(table(features), IMAGES)


def test_logits_and_out_are_called_so() -> None:
    for key in ("logits", "out"):
        assert values(table(lambda z, key=key: {"features": z.repeat(1, 5), key: z}), 1) == near(LOGITS[:, 1].tolist())
    assert values(table(lambda z: SimpleNamespace(logits=z)), 1) == near(LOGITS[:, 1].tolist())


# --- labels


@pytest.mark.parametrize(
    "labels",
    [
        ["cat", "dog", "car"],
        ("cat", "dog", "car"),
        np.array(["cat", "dog", "car"]),
        np.array([b"cat", b"dog", b"car"]),
        {2: "car", 0: "cat", 1: "dog"},
        {"0": "cat", "2": "car", "1": "dog"},
        {"cat": 0, "dog": 1, "car": 2},
    ],
)
def test_labels_are_read_in_the_outputs_order(labels: Any) -> None:
    assert table(labels=labels).labels == ("cat", "dog", "car")


def test_labels_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\ncar\n\n", "utf-8")
    assert table(labels=tmp_path / "names.txt").labels == ("cat", "dog", "car")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\n")
    (tmp_path / "empty.txt").write_text("\n")
    os.mkfifo(tmp_path / "pipe.txt")
    for name, words in (
        ("none", "no such file"),
        ("bytes", "no labels"),
        ("empty", "no labels"),
        ("pipe", "a pipe, not a file"),
    ):
        with pytest.raises(ModelError, match=words):
            table(labels=tmp_path / f"{name}.txt")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("cat", "labels are one text"),
        ({"cat", "dog"}, "no order"),
        ([], "empty"),
        ({1: "cat", 2: "dog", 3: "car"}, "counted from 0"),
        ({1.5: "cat"}, "indices as keys"),
        (7, "a list of names, not int"),
    ],
)
def test_labels_in_another_form_are_refused(labels: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        table(labels=labels)


@pytest.mark.parametrize("count", [2, 4])
def test_labels_are_one_per_output(count: int) -> None:
    model = table(labels=[f"name {i}" for i in range(count)])
    asks: tuple[Callable[[], Any], ...] = (
        lambda: tp.predict(model, IMAGES),
        lambda: tp.saliency(model, IMAGES),
        lambda: tp.saliency(model, IMAGES, 1),
        lambda: tp.saliency(model, IMAGES, "name 1"),
    )
    for ask in asks:
        with pytest.raises(TargetError, match=f"{count} labels were given for the 3 outputs"):
            ask()
    with pytest.raises(TargetError, match="background"):
        tp.predict(table(labels=["cat", "dog"]), IMAGES)


# --- maps


class Dense(nn.Module):
    """(n, channels, h / stride, w / stride)."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, channels, 3, stride, padding=1).double()

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images)


@pytest.mark.parametrize(("channels", "stride", "what"), [(3, 1, "a picture, as an autoencoder"), (8, 4, "maps of features")])
def test_pictures_and_features_are_no_classes(channels: int, stride: int, what: str) -> None:
    net = Dense(channels, stride)
    with pytest.raises(TargetError, match=what):
        tp.saliency(tp.wrap(net, **PLAIN), IMAGES)
    for about in ({"outputs": "logits"}, {"labels": [f"kind {i}" for i in range(channels)]}):
        assert "of 256 px" in tp.saliency(tp.wrap(net, **PLAIN, **about), IMAGES).target[0]
    assert tp.saliency(tp.wrap(net, **PLAIN), IMAGES, lambda maps: maps[:, 1].mean((1, 2))).status == ("ok", "ok")


def test_one_map_is_of_a_mask_or_of_a_measure() -> None:
    with pytest.raises(TargetError, match="one map and nothing says of what"):
        tp.saliency(tp.wrap(Dense(1), **PLAIN), IMAGES)
    mask = tp.wrap(Dense(1), **PLAIN, outputs="sigmoid")
    where = mask(IMAGES)[0, 0] > 0
    assert torch.equal(as_score(mask, IMAGES, 0).explains(2)[0].mask, where)
    depth = tp.wrap(Dense(1), **PLAIN, outputs="numbers")
    with pytest.raises(TargetError, match="maps of numbers, no classes"):
        tp.saliency(depth, IMAGES)


def test_a_segmentation_with_a_softmax_or_sigmoids_is_not_squashed_again() -> None:
    net = Dense(4)
    logits = net(IMAGES)
    box = tp.Region(1, (2, 2, 9, 12))
    for end, outputs, squashed in (
        (lambda z: z, "auto", logits.softmax(1)),
        (lambda z: z.softmax(1), "auto", logits.softmax(1)),
        (lambda z: z.sigmoid(), "auto", logits.sigmoid()),
        (lambda z: z, "sigmoid", logits.sigmoid()),
    ):
        model = tp.wrap(net, **PLAIN, call=lambda module, images, end=end: end(module(images)), outputs=outputs)
        wanted = squashed[:, 1, 2:12, 2:9].mean((1, 2)).tolist()
        assert values(model, box, "probability") == pytest.approx(wanted, rel=1e-9)
    several = tp.wrap(net, **PLAIN, outputs="sigmoid")
    assert torch.equal(as_score(several, IMAGES, tp.Region(1)).explains(2)[1].mask, logits[1, 1] > 0)


def test_a_map_of_one_cell_is_a_table() -> None:
    model = table(lambda z: z[:, :, None, None])
    assert values(model, 2) == near(LOGITS[:, 2].tolist())
