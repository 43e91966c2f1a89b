"""`tapetum questions`: a page that opens offline, its numbers as JSON, and refusals in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

from command_line import CommandLine, photo

import tapetum as tp
from tapetum.types.answers import QUESTIONS

QUICK = ("--twins", "2", "--inverted", "1", "--n-steps", "2")


def folder(place: Path, n: int = 22) -> None:
    for i in range(n):
        (place / "photos" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        photo(seed=i).save(place / "photos" / "ab"[i % 2] / f"{i}.png")


def test_a_page_with_five_answers_is_written(tapetum: CommandLine, place: Path) -> None:
    folder(place)
    command = ("questions", "photos", "--model", "net.py:build", "--out", "out", *QUICK)
    answer = tapetum(*command)
    assert answer.status == 0
    assert re.search(r"22 pictures, \d depths, 2 random networks, 1 pictures inverted: about", answer.err)
    found = tp.open(place / "out" / "answers")
    page = (place / "out" / "report.html").read_text()
    about = json.loads((place / "out" / "report.json").read_text())
    for one, told in zip(found.answers, about["answers"], strict=True):
        assert one.sentence in answer.out
        assert (told["topic"], told["sentence"], told["verdict"]) == (one.topic, one.sentence, one.verdict)
        assert f'id="{one.topic}"' in page
        assert QUESTIONS[one.topic] in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)  # nothing is loaded
    assert page.count("<img") == sum(len(one.panels) for one in found.answers) + len(found.of("abstraction").captions)
    assert "tapetum questions photos --model net.py:build" in page
    again = tapetum(*command, "--json")
    assert json.loads(again.out)["answers"] == json.loads((place / "out" / "report.json").read_text())["answers"]


def test_three_pictures_are_refused_in_one_line(tapetum: CommandLine, place: Path) -> None:
    folder(place, 3)
    answer = tapetum("questions", "photos", "--model", "net.py:build", "--out", "out", *QUICK)
    assert answer.status == 2
    assert "holds 3 pictures; five questions need at least 20" in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert not (place / "out").exists()
