"""`tapetum tcav`: the library's numbers in words, a figure and JSON; what is wrong is said in one line."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import CommandLine, photo

import tapetum as tp


def folder(place: Path, name: str, first: int) -> str:
    (place / name).mkdir()
    for i in range(4):
        photo(seed=first + i).save(place / name / f"{i}.png")
    return name


def test_concepts_are_tested_and_written_with_their_words(tapetum: CommandLine, place: Path) -> None:
    named = [folder(place, name, 4 * i) for i, name in enumerate(("one", "two", "others"))]
    command = ("tcav", *named[:2], "--random", "others", "--images", "one", "--target", "dog", "--model", "net.py:build")
    answer = tapetum(*command, "--out", "out")
    assert answer.status == 0
    found = tp.open(place / "out" / "tcav")
    assert answer.out.startswith(str(found))
    assert found.names == ("one", "two")
    about = json.loads((place / "out" / "report.json").read_text())
    assert [row["outcome"] for row in about["found"]] == list(found.outcomes)
    assert about["parameters"]["layer"] == found.layer
    assert (place / "out" / "tcav.png").exists()


def test_two_folders_of_one_name_are_refused_in_one_line(tapetum: CommandLine, place: Path) -> None:
    folder(place, "one", 0)
    answer = tapetum("tcav", "one", "./one", "--random", "one", "--model", "net.py:build", "--out", "out")
    assert answer.status == 2
    assert "have one name" in answer.err
    assert len(answer.err.strip().splitlines()) == 1
