"""`tapetum train` and `tapetum fine-tune`: a folder that is a model, goes on after a stop, and never takes others' files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine, photo

import tapetum as tp


@pytest.fixture
def classes(place) -> Path:
    """Two classes of eight pictures."""
    for i in range(8):
        for label, side in (("wide", 60), ("small", 20)):
            (place / "classes" / label).mkdir(parents=True, exist_ok=True)
            photo(side, seed=i).resize((40, 40)).save(place / "classes" / label / f"{i}.png")
    return place / "classes"


QUICK = ("--size", 16, "--batch", 4)


def test_a_trained_folder_is_a_model_for_every_other_command(place: Path, classes: Any, tapetum: CommandLine) -> None:
    answer = tapetum("train", classes, "--out", "net", "--epochs", 2, *QUICK)
    assert answer.status == 0, answer.err
    assert "kept: epoch 2" in answer.out
    names = {path.name for path in (place / "net").iterdir()}
    assert names >= {"curves.png", "filters.png", "predictions.png", "mistakes.png", "model.safetensors", "history.json"}
    said = tapetum("predict", "cat.png", "--model", "net")
    assert said.status == 0
    assert "wide" in said.out
    explained = tapetum("run", "grad_cam", "cat.png", "--model", "net", "--target", "small", "--out", "maps")
    assert explained.status == 0, explained.err


@pytest.mark.slow
def test_the_same_command_goes_on_to_the_numbers_of_one_run(place: Path, classes: Any, tapetum: CommandLine) -> None:
    tapetum("train", classes, "--out", "twice", "--epochs", 1, *QUICK)
    assert tapetum("train", classes, "--out", "twice", "--epochs", 2, *QUICK).status == 0
    tapetum("train", classes, "--out", "once", "--epochs", 2, *QUICK)
    told = [json.loads((place / name / "history.json").read_text())["epochs"] for name in ("twice", "once")]
    for a, b in zip(*told, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}
    other = tapetum("train", classes, "--out", "twice", "--epochs", 2, *QUICK, "--seed", 1)
    assert (other.status, "resume=False" in other.err) == (2, True)


def test_fine_tuning_takes_a_file_of_yours_and_leaves_its_weights_out_of_it(
    place: Path, classes: Any, tapetum: CommandLine
) -> None:
    answer = tapetum("fine-tune", classes, "--model", "net.py:build", "--out", "tuned", "--epochs", 1, "--batch", 4)
    assert answer.status == 0, answer.err
    model = tp.load(str(place / "tuned"))
    assert model.labels == ("small", "wide")
    assert "filters.png" not in {path.name for path in (place / "tuned").iterdir()}


def test_pictures_that_were_left_out_are_named_and_the_status_says_so(place: Path, classes: Any, tapetum: CommandLine) -> None:
    (classes / "wide" / "bad.png").write_text("no picture")
    answer = tapetum("train", classes, "--out", "net", "--epochs", 1, *QUICK)
    assert answer.status == 1
    assert "bad.png" in answer.err


def test_a_folder_with_other_files_and_data_without_classes_are_refused(
    place: Path, classes: Any, tapetum: CommandLine
) -> None:
    answer = tapetum("train", classes, "--out", "full", "--epochs", 1)
    assert (answer.status, "precious.txt" in answer.err) == (2, True)
    answer = tapetum("train", classes / "wide", "--out", "none", "--epochs", 1)
    assert (answer.status, "no classes" in answer.err) == (2, True)
    assert not (place / "none").exists()
