"""What is said of a model on the command line: the same words for every command, kept with the result, told again."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CommandLine
from typer.main import get_command

import tapetum as tp
from tapetum.cli.generated import every_command
from tapetum.cli.main import app
from tapetum.cli.options import SETTINGS
from tapetum.models.zoo.loading import loaded
from tapetum.models.zoo.settings import READ, with_settings
from tapetum.models.zoo.trained import architecture_of, save_trained
from tapetum.types import ModelError

NETWORKS = '''
import torch
from torch import nn


def build():
    """Takes 24 x 40 px, and no other size; nobody says so, nor what its three numbers are."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4 * 6 * 10, 3))


class WithAge(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(5, 3)

    def forward(self, images, age):
        return self.linear(torch.cat([self.conv(images).relu().mean((2, 3)), age[:, None]], 1))


def aged():
    torch.manual_seed(0)
    return WithAge()
'''

SAID = ["--size", "24x40", "--labels", "names.txt", "--mean", "0.5", "--std", "0.25,0.25,0.5", "--outputs", "sigmoid"]


@pytest.fixture
def place(place):
    (place / "own.py").write_text(NETWORKS)
    (place / "names.txt").write_text("cat\nwindow\nmoon\n")
    np.save(place / "age.npy", np.array([0.5], dtype=np.float32))
    return place


def by_hand(**more: Any) -> tp.VisionModel:
    names: dict[str, Any] = {}
    exec(NETWORKS, names)
    return tp.wrap(names["build"](), size=(24, 40), mean=(0.5,) * 3, std=(0.25, 0.25, 0.5), **more)


def commands() -> dict[str, Any]:
    """Every command with a --model or a MODEL."""
    found = {name: {one.name: one for one in command.params} for name, command in every_command(get_command(app))}
    return {name: params for name, params in found.items() if "model" in params}


def test_every_command_with_a_model_takes_all_that_can_be_said_of_one() -> None:
    found = commands()
    assert {"explain", "predict", "layers", "scan", "spectrum", "examples", "fine-tune", "reproduce", "lesson", "render",
            "atlas build", "atlas serve", "run saliency", "run layer_table"} <= set(found)  # fmt: skip
    for name, params in found.items():
        assert {"weights", *(f"model_{one}" for one in SETTINGS)} <= set(params), name
        flags = [flag for one in params.values() for flag in one.opts]
        assert len(flags) == len(set(flags)), name
        assert "--input-size" in params["model_size"].opts, name
    assert "--size" in found["explain"]["model_size"].opts
    assert "--size" in found["render"]["size"].opts


def test_what_can_be_said_on_the_command_line_is_what_can_be_read() -> None:
    assert set(SETTINGS) == set(READ)
    assert set(READ) <= set(inspect.signature(tp.wrap).parameters)


def test_a_network_of_ones_own_needs_no_factory_that_wraps_it(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum("run", "saliency", "cat.png", "--model", "own.py:build", *SAID, "--target", "window", "--out", "out")
    assert (answer.status, answer.err) == (0, "")
    result = tp.open(place / "out" / "cat")
    model = by_hand(labels=["cat", "window", "moon"], outputs="sigmoid")
    expected = tp.saliency(model, "cat.png", "window")
    assert result.value.target == ("window",)
    assert torch.equal(result.value.values, expected.values)
    assert result.value.notes == expected.notes
    assert result.provenance.settings == {
        "labels": ["cat", "window", "moon"], "size": [24, 40], "mean": [0.5], "std": [0.25, 0.25, 0.5], "outputs": "sigmoid",
    }  # fmt: skip


def test_a_picture_is_made_again_with_what_was_said(tapetum: CommandLine, place: Path) -> None:
    assert tapetum("run", "saliency", "cat.png", "--model", "own.py:build", *SAID, "--out", "out").status == 0
    (place / "names.txt").unlink()  # the names are in the picture
    again = tapetum("reproduce", "out/cat.png", "--model", "own.py:build")
    assert (again.status, again.out) == (0, "out/cat.png: the same pixels\n")
    other = tapetum("reproduce", "out/cat.png", "--model", "own.py:build", "--size", "24x40", "--mean", "0", "--std", "1")
    assert other.status == 1
    assert "the images came out differently" in other.out


def test_the_report_says_how_to_make_it_again(tapetum: CommandLine, place: Path) -> None:
    words = ["explain", "cat.png", "--model", "own.py:build", *SAID, "--methods", "saliency", "--no-evidence", "--out", "out"]
    assert tapetum(*words).status == 0
    page = (place / "out" / "report.html").read_text("utf-8")
    assert "--labels names.txt --size 24x40 --mean 0.5 --std 0.25,0.25,0.5 --outputs sigmoid" in page
    assert "mean 0.5, 0.5, 0.5, std 0.25, 0.25, 0.5<" in page
    assert json.loads((place / "out" / "report.json").read_text())["images"][0]["notes"] == []
    words = ["explain", "cat.png", "--model", "own.py:build", *SAID[:2], "--methods", "saliency", "--no-evidence", "--out", "b"]
    assert "mean and std are assumed to be ImageNet's" in tapetum(*words).err
    page = (place / "b" / "report.html").read_text("utf-8")
    assert "std 0.229, 0.224, 0.225 (assumed)" in page
    assert page.count('<p class="note caution">mean and std are assumed to be ImageNet') == 1


def test_pictures_of_other_settings_are_not_taken_for_these(tapetum: CommandLine, place: Path) -> None:
    words = ["render", "0:1", "--model", "net.py:build", "--size", "16", "--n-steps", "2", "--out", "out"]
    words[1] = next(line.split()[0] for line in tapetum("layers", "net.py:build").out.splitlines() if "Conv2d" in line) + ":1"
    assert tapetum(*words).status == 0
    assert "stay as they are" in tapetum(*words).err
    other = tapetum(*words, "--mean", "0.3")
    assert other.status == 2
    assert "holds another picture (settings was {}, is {'mean': [0.3]})" in other.err
    assert tapetum(*words, "--mean", "0.3", "--no-resume").status == 0
    assert "stay as they are" in tapetum(*words, "--mean", "0.3").err


@pytest.mark.parametrize("age", ["0.5", "age.npy"])
def test_a_further_input_is_a_number_or_a_file(tapetum: CommandLine, place: Path, age: str) -> None:
    said = ["--model", "own.py:aged", "--extra", f"age={age}", "--size", "24", "--mean", "0.5", "--std", "0.5"]
    answer = tapetum("run", "saliency", "cat.png", *said, "--target", "1", "--out", "out")
    assert (answer.status, answer.err) == (0, "")
    names: dict[str, Any] = {}
    exec(NETWORKS, names)
    half = (0.5,) * 3
    model = tp.wrap(names["aged"](), size=24, mean=half, std=half, extra={"age": torch.tensor([0.5])})
    assert torch.equal(tp.open(place / "out" / "cat").value.values, tp.saliency(model, "cat.png", 1).values)
    assert tapetum("reproduce", "out/cat.png", "--model", "own.py:aged").status == 0
    np.save(place / "age.npy", np.array([0.7], dtype=np.float32))
    changed = tapetum("reproduce", "out/cat.png", "--model", "own.py:aged")
    assert (changed.status == 0) == (age == "0.5")
    assert age == "0.5" or "age.npy is not the file that the picture was made from" in changed.err


def test_raw_values_have_a_range(tapetum: CommandLine, place: Path) -> None:
    raw = np.random.default_rng(0).integers(-200, 300, (24, 40, 3)).astype(np.int16)
    np.save(place / "scan.npy", raw)
    words = ["run", "saliency", "scan.npy", "--model", "own.py:build", *SAID, "--range", "-160,240", "--target", "1"]
    answer = tapetum(*words, "--out", "out")
    assert (answer.status, answer.err) == (0, "")
    pixels = torch.from_numpy(((raw.astype(np.float32) + 160) / 400).clip(0, 1)).permute(2, 0, 1)
    expected = tp.saliency(by_hand(outputs="sigmoid"), pixels, 1)
    torch.testing.assert_close(tp.open(place / "out" / "scan").value.values, expected.values)
    assert tapetum("reproduce", "out/scan.png", "--model", "own.py:build").status == 0


def test_assumed_constants_are_said_once_and_not_where_they_are_given(tapetum: CommandLine, place: Path) -> None:
    words = ["run", "saliency", "cat.png", "dog.png", "--model", "own.py:build", "--size", "24x40"]
    assert tapetum(*words, "--out", "a").err.count("assumed to be ImageNet's") == 1
    assert tapetum(*words, "--mean", "0.5", "--std", "0.5", "--out", "b").err == ""


REFUSED = {
    "--size 0": "a size is a side in px, or height x width such as 96x160, not '0'",
    "--size 24x40x3": "a size is a side in px",
    "--labels nothing.txt": "--labels: there is no file nothing.txt; give a file with a name per line",
    "--labels a,b": "2 labels were given for the 3 outputs",
    "--mean 1,2": "--mean has 2 numbers, and own takes 3 channels: give one for each, or one for all",
    "--mean x": "--mean is one number, or one per channel with commas between, not 'x'",
    "--std 0": "--std is one number above zero",
    "--std nan": "--std is one number above zero",
    "--outputs odds": "outputs is one of auto, logits, probabilities, log_probabilities, sigmoid, numbers, not 'odds'",
    "--resize wide": "--resize is crop, squash, or the shorter side in px, not 'wide'",
    "--range 5,5": "--range is low,high, the raw values that stand for black and white, as in 0,4095, not '5,5'",
    "--range dark": "--range is low,high",
    "--extra age": "--extra is name=value, as in age=58.0 or age=ages.npy, not 'age'",
    "--extra age=old": "--extra: 'old' is neither numbers with commas between nor a .npy file",
    "--extra age=none.npy": "none.npy: no such file; looked in ",
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_said_is_refused_in_a_line(tapetum: CommandLine, place: Path, said: Any) -> None:
    option, value = said.split()
    half = [word for name in ("--mean", "--std") if name != option for word in (name, "0.5")]
    size = [] if option == "--size" else ["--size", "24x40"]
    answer = tapetum("predict", "cat.png", "--model", "own.py:build", option, value, *half, *size)
    assert answer.status == 2
    assert REFUSED[said] in answer.err
    assert answer.err.count("\n") == 1


def test_what_is_said_of_no_model_is_refused(tapetum: CommandLine, place: Path) -> None:
    assert "--size is said of --model; give both" in tapetum("reproduce", "cat.png", "--size", "3").err
    assert "--weights are those of --model; give both" in tapetum("reproduce", "cat.png", "--weights", "random").err


def test_a_model_that_is_told_more_is_another_and_the_first_stays() -> None:
    model = by_hand(labels=["a", "b", "c"])
    before = dataclasses.asdict(model.preprocessing)
    told = with_settings(model, {"labels": "x,y,z", "resize": "squash", "mean": 0})
    assert (model.labels, dataclasses.asdict(model.preprocessing), model.settings) == (("a", "b", "c"), before, {})
    assert told.labels == ("x", "y", "z")
    assert (told.preprocessing.resize, told.preprocessing.mean, told.preprocessing.std) == (
        "squash",
        (0.0,) * 3,
        (0.25, 0.25, 0.5),
    )
    assert told.module is model.module
    assert with_settings(told, {"size": "24x40"}).settings.keys() == {"labels", "resize", "mean", "size"}


def test_a_trained_network_is_built_again_with_what_was_said(place: Path) -> None:
    model = loaded("own.py:build", "default", {"size": "24x40", "mean": "0.5", "std": "0.5", "labels": "a,b,c"})
    folder = place / "trained"
    folder.mkdir()
    save_trained(model, folder, architecture_of(model, None), model.module.state_dict())
    with pytest.raises(ModelError, match="code is run only where you name it"):
        tp.load(str(folder))
    again, images = tp.load("own.py:build", weights=str(folder)), torch.randn(2, 3, 24, 40)
    with torch.no_grad():
        assert torch.equal(again(images), model(images))
    assert (again.labels, again.preprocessing) == (model.labels, model.preprocessing)
