"""`tapetum run` for inspections: all readable pictures in one result, its figures, and what was refused."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from command_line import CommandLine
from PIL import Image

import tapetum as tp


def test_an_inspection_looks_at_all_pictures_and_names_what_it_could_not_read(tapetum: CommandLine, place: Path) -> None:
    (place / "broken.png").write_bytes(b"\x89PNG no picture")
    words = ["run", "activation_maps", "--model", "net.py:build", "--layers", "features.0.2,features.1.2", "--k", "2"]
    answer = tapetum(*words, "cat.png", "broken.png", "white.png", "--out", "out")
    assert answer.status == 1
    assert "broken.png" in answer.err
    expected = tp.activation_maps(
        tp.load("net.py:build"), ["cat.png", "white.png"], layers=["features.0.2", "features.1.2"], k=2
    )
    saved = tp.open(place / "out" / "activation_maps").value
    assert all(torch.equal(a.values, b.values) for a, b in zip(expected, saved, strict=True))
    report = json.loads((place / "out" / "report.json").read_text())
    assert [row["picture"] for row in report["images"]] == ["activation_maps-0.png", "activation_maps-1.png"]
    assert [row["file"] for row in report["refused"]] == ["broken.png"]
    with Image.open(place / "out" / "activation_maps-1.png") as figure:
        assert json.loads(figure.text["tapetum"])["subject"] == ["cat.png", "white.png"]


def test_the_same_folder_takes_the_next_result_and_no_strangers(tapetum: CommandLine, place: Path) -> None:
    words = ["run", "activation_maps", "--model", "net.py:build", "cat.png", "--out", "out"]
    assert tapetum(*words).status == 0
    assert tapetum(*words, "--layers", "features.0.2").status == 0
    assert sorted(path.name for path in (place / "out").iterdir()) == [
        "activation_maps", "activation_maps.png", "report.json"
    ]  # fmt: skip
    (place / "out" / "diary.txt").write_text("mine")
    assert tapetum(*words).status == 2


def test_nothing_is_done_without_a_picture_that_can_be_read(tapetum: CommandLine, place: Path) -> None:
    (place / "broken.png").write_bytes(b"no picture")
    assert tapetum("run", "activation_maps", "--model", "net.py:build", "broken.png", "--out", "out").status == 2
    assert not (place / "out").exists()
