"""`tapetum shape-texture`: the library's numbers in words, a figure and JSON; what is wrong is said in one line."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import CommandLine, photo

import tapetum as tp


def test_the_decisions_are_written_with_their_words(tapetum: CommandLine, place: Path) -> None:
    (place / "cues").mkdir()
    for i, name in enumerate(("tabby1-dog1", "dog1-tabby2", "tabby2-dog2", "dog2-tabby1")):
        photo(seed=i).save(place / "cues" / f"{name}.png")
    command = ("shape-texture", "cues", "--model", "net.py:build", "--out", "out")
    answer = tapetum(*command)
    assert answer.status == 0
    found = tp.open(place / "out" / "cues")
    assert answer.out.startswith(str(found))
    about = json.loads((place / "out" / "report.json").read_text())
    assert about["said"] == found.said()
    assert about["counts"] == found.counts
    assert (place / "out" / "cues.png").exists()
    photo(seed=9).save(place / "cues" / "holiday.png")
    assert tapetum(*command).status == 1


def test_a_folder_of_other_pictures_is_refused_in_one_line(tapetum: CommandLine, place: Path) -> None:
    (place / "others").mkdir()
    photo(seed=0).save(place / "others" / "holiday.png")
    answer = tapetum("shape-texture", "others", "--model", "net.py:build", "--out", "out")
    assert answer.status == 2
    assert "no picture whose name tells two cues apart" in answer.err
    assert len(answer.err.strip().splitlines()) == 1
