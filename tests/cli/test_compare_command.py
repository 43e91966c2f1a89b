"""`tapetum compare`: the page, JSON, JUnit and the status that a CI server reads, and one line for what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from command_line import CommandLine, photo
from safetensors.torch import save_file

import tapetum as tp


@pytest.fixture
def files(place: Path) -> Path:
    """Six files of weights for one architecture: a, four that are nearly a, and b, which is another network."""
    (place / "photos").mkdir()
    for i in range(6):
        photo(seed=i).save(place / "photos" / f"{i}.png")
    (place / "photos" / "bad.jpg").write_text("no picture")
    first = tp.load("net.py:build").module.state_dict()
    generator = torch.Generator().manual_seed(1)

    def near(share: float) -> dict[str, torch.Tensor]:
        return {
            name: one + share * one.std() * torch.randn(one.shape, generator=generator) if one.ndim > 1 else one.clone()
            for name, one in first.items()
        }

    for name, share in {"a": 0, "s1": 0.05, "s2": 0.05, "s3": 0.05, "near": 0.05, "b": 3}.items():
        save_file(near(share), place / f"{name}.safetensors")
    return place


MODEL = ("--model", "net.py:build")
SEEDS = ("--null", "s1.safetensors", "--null", "s2.safetensors", "--null", "s3.safetensors")


def test_a_comparison_is_written_as_page_json_and_arrays(tapetum: CommandLine, files: Path) -> None:
    answer = tapetum("compare", "a.safetensors", "b.safetensors", "photos", *MODEL, "--out", "out")
    assert answer.status == 1  # a picture was skipped
    assert "bad.jpg" in answer.err
    found = tp.open(files / "out" / "comparison")
    assert answer.out.startswith(str(found))
    about = json.loads((files / "out" / "report.json").read_text())
    assert about["verdict"] == found.verdict
    assert about["bar"] is None
    assert [one["picture"] for one in about["pictures"]] == list(found.pictures)
    assert list(about["skipped"]) == ["bad.jpg"]
    page = (files / "out" / "report.html").read_text()
    assert "a and b, side by side" in page
    assert (files / "out" / "comparison.png").exists()
    assert tapetum("compare", "a.safetensors", "b.safetensors", "photos", *MODEL, "--out", "out").status == 1  # again, there


def test_the_bar_of_other_seeds_decides_the_status(tapetum: CommandLine, files: Path) -> None:
    common = ("photos", *MODEL, *SEEDS, "--fail-if-agreement-below", "auto", "--junit", "ci/junit.xml")
    bad = tapetum("compare", "a.safetensors", "b.safetensors", *common, "--out", "bad")
    assert bad.status == 1
    suite = ElementTree.parse(files / "ci" / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "is below the bar" in str(failure.get("message"))
    good = tapetum("compare", "a.safetensors", "near.safetensors", *common, "--out", "good", "--json")
    assert good.status == 0
    about = json.loads(good.out)
    assert about["below"] is False
    assert about["null"]["kind"] == "given"
    suite = ElementTree.parse(files / "ci" / "junit.xml").getroot()
    assert suite.get("failures") == "0"
    assert suite.find("testcase/failure") is None


def test_a_number_is_a_bar_too(tapetum: CommandLine, files: Path) -> None:
    words = ("compare", "a.safetensors", "near.safetensors", "photos", *MODEL, "--fail-if-agreement-below")
    assert tapetum(*words, "-0.99", "--out", "low").status == 0
    assert tapetum(*words, "1", "--out", "high").status == 1
    wrong = tapetum(*words, "often", "--out", "wrong")
    assert wrong.status == 2
    assert "is auto, or a correlation from -1 to 1, not 'often'" in wrong.err


def test_what_cannot_be_compared_is_one_line(tapetum: CommandLine, files: Path) -> None:
    without = tapetum("compare", "a.safetensors", "b.safetensors", "photos", "--out", "out")
    assert without.status == 2
    assert "is a file of weights: say --model ARCHITECTURE" in without.err
    few = tapetum("compare", "a.safetensors", "b.safetensors", "photos", *MODEL, "--null", "s1.safetensors", "--out", "out")
    assert few.status == 2
    assert "null is at least 3 networks of other seeds" in few.err
    (files / "one").mkdir()
    photo(seed=1).save(files / "one" / "1.png")
    one = tapetum("compare", "net.py:build", "net.py:build", "one", "--out", "out")
    assert one.status == 2
    assert "takes at least 4 pictures, and there are 1" in one.err
    (files / "none").mkdir()
    empty = tapetum("compare", "net.py:build", "net.py:build", "none", "--out", "out")
    assert empty.status == 2
    assert len(empty.err.splitlines()) == 1
    twins = tapetum("compare", "net.py:build", "net.py:build", "photos", "--fail-if-agreement-below", "auto", "--out", "out")
    assert twins.status == 2
    assert len([line for line in twins.err.splitlines() if line.startswith("tapetum: ")]) == 1
    assert not (files / "out").exists()
