"""`tapetum craft`: the library's concepts in words, a figure and JSON; a plan comes first, a refusal is one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import CommandLine, photo

import tapetum as tp

COMMAND = ("craft", "photos", "--target", "dog", "--model", "net.py:build", "--n", "2", "--crops", "2", "--designs", "2")


def test_the_concepts_of_a_class_are_written_with_their_words(tapetum: CommandLine, place: Path) -> None:
    (place / "photos").mkdir()
    for i in range(5):
        photo(seed=i).save(place / "photos" / f"{i}.png")
    answer = tapetum(*COMMAND, "--keep", "all", "--out", "out")
    assert answer.status == 0, answer.err
    assert re.search(r"2 concepts of dog from 2 crops of each of 5 pictures .*; at most about \d+ s", answer.err)
    found = tp.open(place / "out" / "craft")
    assert answer.out.startswith(str(found))
    report = json.loads((place / "out" / "report.json").read_text())
    assert (report["verdict"], report["parameters"]["layer"]) == (found.verdict, found.layer)
    assert [one["importance"] for one in report["concepts"]] == pytest.approx(found.importance.tolist())
    assert [tuple(one["crops"]) for one in report["concepts"]] == list(found.crop_names)
    assert (place / "out" / "craft.png").exists()
    again = tapetum(*COMMAND, "--keep", "all", "--out", "out", "--json")  # an earlier report is replaced
    assert json.loads(again.out)["concepts"] == report["concepts"]
    few = tapetum(*COMMAND, "--most", "4", "--target", "tabby", "--out", "other")
    assert (few.status, (place / "other").exists()) == (2, False)
    assert "pictures that tiny takes for the target are too few" in few.err
