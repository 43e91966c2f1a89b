"""`tapetum doctor`: findings as words or JSON, and an exit status that a script can read."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import CommandLine

import tapetum as tp


def test_a_healthy_network_ends_with_status_0_and_says_what_was_not_tested(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum("doctor", "net.py:build", "cat.png")
    assert answer.status == 0
    assert answer.out.startswith("tiny on 1 picture: healthy (")
    assert "channel order: needs 8 photographs or more, 1 given" in answer.out
    assert tapetum("doctor", "net.py:build").out.startswith("tiny on no picture: healthy (")


def test_a_fault_ends_with_status_1_and_json_holds_the_findings(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum("doctor", "net.py:flat", "cat.png", "--json")
    assert answer.status == 1
    told = json.loads(answer.out)
    expected = tp.doctor(tp.load("net.py:flat"), ["cat.png"])
    assert told["findings"] == [one._asdict() for one in expected.findings]
    assert (told["healthy"], told["images"], told["checks"]) == (False, ["cat.png"], list(expected.checks))
    broken = tapetum("doctor", "net.py:nan", "cat.png")
    assert broken.status == 1
    assert "error: weights: " in broken.out


def test_pictures_that_cannot_be_read_are_named(tapetum: CommandLine, place: Path) -> None:
    (place / "broken.png").write_bytes(b"no picture")
    some = tapetum("doctor", "net.py:build", "cat.png", "broken.png")
    assert (some.status, "broken.png" in some.err, some.out.startswith("tiny on 1 picture")) == (1, True, True)
    assert tapetum("doctor", "net.py:build", "broken.png").status == 2
    assert tapetum("doctor", "no_such_network").status == 2


def test_near_classes_are_those_of_python(tapetum: CommandLine, place: Path) -> None:
    model = tp.load("net.py:build")
    wanted = tp.near_classes(model, "dog", 2)
    answer = tapetum("near-classes", "net.py:build", "dog", "-k", "2")
    assert answer.status == 0, answer.err
    assert [line.split()[0] for line in answer.out.splitlines()[1:]] == [str(one.index) for one in wanted]
    assert all(f"{one.likeness:.2f}" in answer.out for one in wanted)
    by_answers = tapetum("near-classes", "net.py:build", str(wanted[0].index), "cat.png", "missing.png", "-k", "1")
    near = tp.near_classes(model, wanted[0].index, 1, model.preprocess(["cat.png"]))[0]
    assert by_answers.status == 1
    assert f"{near.index}" in by_answers.out.splitlines()[1]
    assert "no label" in tapetum("near-classes", "net.py:build", "zebra").err
