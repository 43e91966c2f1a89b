"""`tapetum circuit`: a page, a figure, the numbers, and arrays that open again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from command_line import CommandLine
from PIL import Image

import tapetum as tp


def test_it_writes_a_page_a_figure_numbers_and_the_result(tapetum: CommandLine, place: Path) -> None:
    (place / "broken.png").write_bytes(b"\x89PNG no picture")
    words = ["circuit", "cat.png", "white.png", "broken.png", "--edges", "4", "--fan-in", "2", "--pictures", "16"]
    answer = tapetum(*words, "--target", "dog", "--model", "net.py:build", "--out", "out")
    assert answer.status == 1
    assert re.search(r"circuit of dog on 2 images: up to 4 edges .* picture of every channel, 16 px; about \d+ s", answer.err)
    assert "broken.png" in answer.err
    expected = tp.circuit("net.py:build", "dog", ["cat.png", "white.png"], edges=4, fan_in=2, pictures=16)
    saved = tp.open(place / "out" / "circuit")
    assert str(saved) == str(expected)
    assert torch.equal(saved.looks.crops, expected.looks.crops)
    content = json.loads((place / "out" / "circuit.json").read_text())
    assert [edge["weight"] for edge in content["edges"]] == [edge.weight for edge in expected.edges]
    assert len(content["nodes"][0]["activations"]) == 2
    assert content["refused"][0]["file"] == "broken.png"
    assert "Circuit of" in (place / "out" / "circuit.html").read_text()
    with Image.open(place / "out" / "circuit.png") as figure:
        assert json.loads(figure.info["tapetum"])["method"] == "circuit"
    again = tapetum(*words, "--target", "dog", "--model", "net.py:build", "--out", "out")
    assert again.status == 1  # an earlier circuit is replaced


def test_a_unit_is_a_target_and_other_pictures_are_a_reference(tapetum: CommandLine, place: Path) -> None:
    (place / "others").mkdir()
    for i in range(2):
        Image.new("RGB", (40, 40), ("orange", "navy")[i]).save(place / "others" / f"{i}.png")
    words = ["circuit", "cat.png", "--target", "features.1.0:2", "--edges", "3", "--no-test", "--measure", "gradient"]
    answer = tapetum(*words, "--ablation", "mean", "--reference", "others", "--model", "net.py:build", "--out", "out")
    assert answer.status == 0, answer.err
    content = json.loads((place / "out" / "circuit.json").read_text())
    assert (content["target"], content["ablation"], content["tests"]) == ("features.1.0:2", "mean", [])
    assert content["parameters"]["reference"] == [str(Path("others") / f"{i}.png") for i in range(2)]


def test_what_cannot_be_is_a_line_and_leaves_nothing(tapetum: CommandLine, place: Path) -> None:
    for words, said in (
        (["--ablation", "mean"], "give some, reference="),
        (["--reference", "white.png", "--target", "unicorn"], "unicorn"),
        (["--pictures", "3"], "from 16 to 512 px"),
        (["--layers", "nothing"], "nothing"),
    ):
        answer = tapetum("circuit", "cat.png", "--model", "net.py:build", "--out", "out", *words)
        assert answer.status == 2
        assert said in answer.err
        assert not (place / "out").exists()
