"""`tapetum sanity-check`: one figure, the arrays, and a verdict per method for all readable pictures."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from command_line import CommandLine
from PIL import Image

import tapetum as tp


def test_it_says_the_cost_first_and_writes_words_arrays_and_a_figure(tapetum: CommandLine, place: Path) -> None:
    (place / "broken.png").write_bytes(b"\x89PNG no picture")
    words = ["sanity-check", "cat.png", "white.png", "broken.png", "--methods", "saliency, edge_attribution", "--seeds", "2"]
    answer = tapetum(*words, "--steps", "2", "--model", "net.py:build", "--out", "out")
    assert answer.status == 1
    assert "broken.png" in answer.err
    assert "6 networks x 2 methods, about " in answer.err
    assert "hardly depends on the weights" in answer.out
    expected = tp.sanity_check(
        tp.load("net.py:build"), ["cat.png", "white.png"], "saliency, edge_attribution", seeds=2, steps=2
    )
    saved = tp.open(place / "out" / "sanity")
    assert torch.equal(saved.cascading["rank"].nan_to_num(9), expected.cascading["rank"].nan_to_num(9))
    report = json.loads((place / "out" / "report.json").read_text())
    assert [one["method"] for one in report["verdicts"]] == ["saliency", "edge_attribution"]
    assert report["verdicts"][1]["weights"] == "hardly depends on the weights"
    with Image.open(place / "out" / "sanity.png") as figure:
        assert json.loads(figure.info["tapetum"])["method"] == "sanity_check"


def test_no_readable_picture_and_unknown_methods_are_refused(tapetum: CommandLine, place: Path) -> None:
    (place / "broken.png").write_bytes(b"\x89PNG no picture")
    assert tapetum("sanity-check", "broken.png", "--model", "net.py:build", "--out", "out").status == 2
    answer = tapetum("sanity-check", "cat.png", "--methods", "grad_camm", "--model", "net.py:build", "--out", "out")
    assert answer.status == 2
    assert "close names" in answer.err
    assert not (place / "out").exists()
