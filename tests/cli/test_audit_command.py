"""`tapetum audit`: a report that replaces only itself, numbers for other programs, one line for what cannot be done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cheats import write_framed
from command_line import CommandLine

import tapetum as tp

NET = """
import signal
from cheats import frame_reader as build


def one_output():
    import torch, tapetum as tp
    return tp.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 24 * 24, 1)), size=24, mean=0.0, std=1.0)


def others():
    model = build()
    import tapetum as tp
    return tp.wrap(model.module, size=24, mean=0.0, std=1.0, labels=["cat", "dog"])


def interrupting():
    import tapetum as tp
    from cheats import Frame

    class Stopped(Frame):
        def forward(self, images):
            if len(images) > 20:
                raise KeyboardInterrupt
            return super().forward(images)

    return tp.wrap(Stopped(), size=24, mean=0.0, std=1.0, labels=["dark", "bright"])
"""


@pytest.fixture
def folder(place: Any) -> Path:
    (place / "cheat.py").write_text(NET)
    write_framed(place / "framed", 32)
    return place


COMMAND = ("audit", "framed", "--model", "cheat.py:build")


def test_an_audit_writes_a_page_numbers_a_figure_and_the_result(folder: Path, tapetum: CommandLine) -> None:
    answer = tapetum(*COMMAND, "--out", "out")
    assert answer.status == 0, answer.err
    assert "7 cues between 32 pictures: 640 answers, about" in answer.err
    found = tp.open(folder / "out" / "audit")
    assert answer.out == f"{found}\nout/report.html\n"
    content = json.loads((folder / "out" / "audit.json").read_text())
    assert content["verdict"] == found.verdict == "shortcut"
    assert {one["kind"] for one in content["suspicions"]} == {"border"}
    assert "The answers follow the frame" in (folder / "out" / "report.html").read_text()
    assert {path.name for path in (folder / "out").iterdir()} == {"report.html", "audit.json", "audit.png", "audit"}
    again = tapetum(*COMMAND, "--out", "out", "--fail-if-shortcut", "--json")  # takes the place of the first
    assert again.status == 1
    assert json.loads(again.out)["suspicions"] == content["suspicions"]


def test_pictures_that_cannot_be_read_are_named_and_left_out(folder: Path, tapetum: CommandLine) -> None:
    (folder / "framed" / "dark" / "00.png").write_text("no picture")
    answer = tapetum(*COMMAND, "--out", "out")
    assert answer.status == 1
    assert "dark/00.png" in answer.err
    content = json.loads((folder / "out" / "audit.json").read_text())
    assert list(content["skipped"]) == ["dark/00.png"]
    assert content["pictures"] == 31
    assert "Pictures that could not be read" in (folder / "out" / "report.html").read_text()


def test_masks_are_a_folder_of_the_same_names(folder: Path, tapetum: CommandLine) -> None:
    missing = tapetum(*COMMAND, "--masks", "nowhere", "--out", "out")
    assert missing.status == 2
    write_framed(folder / "masks", 30)
    few = tapetum(*COMMAND, "--masks", "masks", "--out", "out")
    assert (few.status, few.err.splitlines()[-1].startswith("tapetum: masks has no mask for")) == (2, True)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("one", "--model", "cheat.py:build"), "one has one class, dark"),
        (("three", "--model", "cheat.py:build"), "three has 3 pictures of 'bright': an audit needs 8 of each class"),
        (("framed", "--model", "cheat.py:one_output"), "gives numbers, no classes: an audit needs a classifier"),
        (("framed", "--model", "cheat.py:others"), 'no label "bright"'),
        (("empty", "--model", "cheat.py:build"), "empty"),
    ],
)
def test_what_cannot_be_audited_is_refused_in_one_line(
    folder: Path, tapetum: CommandLine, words: tuple[str, ...], reason: str
) -> None:
    (folder / "empty").mkdir()
    write_framed(folder / "one")
    for path in (folder / "one" / "bright").iterdir():
        path.unlink()
    write_framed(folder / "three", 6)
    answer = tapetum("audit", *words, "--out", "out")
    refusals = [line for line in answer.err.splitlines() if line.startswith("tapetum: ")]
    assert answer.status == 2
    assert len(refusals) == 1
    assert reason in refusals[0]
    assert "Traceback" not in answer.err
    assert not (folder / "out").exists()


def test_ctrl_c_leaves_nothing(folder: Path, tapetum: CommandLine) -> None:
    answer = tapetum("audit", "framed", "--model", "cheat.py:interrupting", "--out", "out")
    assert answer.status == 130
    assert answer.err.endswith("tapetum: stopped: nothing was written\n")
    assert not (folder / "out").exists()


def test_files_of_others_are_not_replaced(folder: Path, tapetum: CommandLine) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "audit.json").write_text('{"mine": true}')
    answer = tapetum(*COMMAND, "--out", "out")
    assert answer.status == 2
    assert "holds other files (audit.json)" in answer.err
    assert (folder / "out" / "audit.json").read_text() == '{"mine": true}'
