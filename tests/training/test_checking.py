"""Pictures with a network's answers: all are counted, the right ones are shown, and names are matched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from stripes import SIDE, stripes
from torch import Tensor, nn

import tapetum as tp
from tapetum.models.vision_model import VisionModel
from tapetum.training import check_predictions, train
from tapetum.types import ModelError, TargetError


class Reads(nn.Module):
    """Says of a picture what its brightness in [0, 1] is: class 0 below .2, class 1 below .4, ...; surer the brighter."""

    def forward(self, images: Tensor) -> Tensor:
        value = images.mean((1, 2, 3))
        place = (value * 5).long().clamp(0, 4)
        return torch.zeros(len(images), 5).scatter_(1, place[:, None], value[:, None] * 4)


def reader(labels: list[str] | None) -> VisionModel:
    return tp.wrap(Reads(), size=SIDE, resize=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3, labels=labels, name="reader")


def plain(values: list[float]) -> Tensor:
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, SIDE, SIDE).clone()


VALUES = [0.1, 0.12, 0.3, 0.5, 0.7, 0.9]
TRUTH = [0, 1, 1, 3, 3, 4]  # the second and the fourth are read wrong


def test_the_confusion_matrix_counts_every_picture() -> None:
    check = check_predictions(reader(None), (plain(VALUES), TRUTH), of="all", n=2)
    expected = torch.zeros(5, 5, dtype=torch.long)
    for truth, said in zip(TRUTH, [0, 0, 1, 2, 3, 4], strict=True):
        expected[truth, said] += 1
    assert torch.equal(check.confusion, expected)
    assert check.accuracy == 4 / 6
    assert "4 of 6 pictures right" in str(check)
    assert len(check.pixels) == 2


def test_mistakes_come_the_surest_first_and_right_ones_the_least_sure_first() -> None:
    wrong = check_predictions(reader(None), (plain(VALUES), TRUTH), of="all", shows="wrong")
    assert wrong.ids == ("3", "1")
    assert (wrong.predicted.tolist(), wrong.truth.tolist()) == ([2, 0], [3, 1])
    sure = torch.tensor([0.5 * 4, 0, 0, 0, 0]).softmax(0)[0]
    assert float(wrong.probability[0]) == pytest.approx(float(sure), abs=2e-3)  # 8 bits a colour
    assert torch.allclose(wrong.pixels[0], plain([0.5])[0], atol=0.5 / 255 + 1e-6)
    right = check_predictions(reader(None), (plain(VALUES), TRUTH), of="all", shows="right")
    assert right.ids == ("0", "2", "4", "5")


def test_classes_are_matched_by_name_and_other_answers_have_a_column() -> None:
    labels = ["black", "dark", "grey", "light", "white"]
    check = check_predictions(reader(labels), (plain([0.1, 0.9, 0.5, 0.95]), ["black", "white", "black", "white"]), of="all")
    assert check.classes == ("black", "white", "another class")
    assert check.confusion.tolist() == [[1, 0, 1], [0, 2, 0], [0, 0, 0]]
    with pytest.raises(TargetError, match="purple"):
        check_predictions(reader(labels), (plain([0.1, 0.9]), ["purple", "white"]), of="all")
    with pytest.raises(ModelError, match="5 values without names, and the data has 2 classes"):
        check_predictions(reader(None), (plain([0.1, 0.9]), ["a", "b"]), of="all")


def test_the_held_out_pictures_are_those_of_the_training() -> None:
    history = train(stripes(30), size=SIDE, epochs=2, batch=5, seed=3)
    assert check_predictions(history.model, stripes(30), seed=3).accuracy == history.accuracy


def test_a_check_and_a_history_come_back_from_disk(tmp_path: Path) -> None:
    history = train(stripes(12), size=SIDE, epochs=1, batch=4)
    check = check_predictions(history.model, stripes(12), of="all")
    for name, result in (("history", history), ("check", check)):
        tp.save(result, tmp_path / name)
        again = tp.open(tmp_path / name)
        assert str(again) == str(result)
        assert tp.draw(again).axes
    assert tp.open(tmp_path / "history").model == "VisionModel(simple_cnn, 16 x 16 px, 2 labels)"


# --- what the documentation promises of the data that comes along


@pytest.mark.slow
def test_simple_cnn_reads_more_than_97_percent_of_the_digits() -> None:
    data = {"data": "digits:train", "validation": "digits:test"}
    assert train(**data, batch=32, learning_rate=3e-3, schedule="cosine").accuracy > 0.97


@pytest.mark.slow
def test_simple_cnn_tells_more_than_95_percent_of_the_planted_shapes() -> None:
    data = {"data": "planted:n=6000:size=32", "validation": "planted:n=800:size=32:seed=1"}
    assert train(**data, epochs=24, learning_rate=0.01, schedule="cosine").accuracy > 0.95
