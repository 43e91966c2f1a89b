"""`--out` that cannot be: each command says so in one line, and writes nothing anywhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine, photo

COMMANDS = {
    "explain": ("explain", "{}/cat.png", "--methods", "grad_cam", "--no-runner-up"),
    "run": ("run", "saliency", "{}/cat.png"),
    "inspect": ("run", "activation_maps", "{}/cat.png"),
    "spectrum": ("spectrum", "features.1.0:1", "--data", "{}/classes"),
    "render": ("render", "tabby", "--size", "16", "--steps", "1"),
    "scan": ("scan", "{}/classes"),
    "train": ("train", "{}/classes", "--epochs", "1", "--size", "16"),
    "atlas": ("atlas", "build", "{}/classes", "--render", "none", "--map", "none"),
}
OUT = {"letters": "x" * 300, "deep letters": "a/" + "x" * 300, "zero": "a\0b", "proc": "/proc/nowhere", "file": "{}/cat.png/in"}


@pytest.fixture
def words(place: Path, request: pytest.FixtureRequest) -> list[str]:
    """A command whose files are named in full."""
    for i in range(4):
        folder = place / "classes" / ("wide", "small")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        photo((60, 20)[i % 2], seed=i).resize((40, 40)).save(folder / f"{i}.png")
    model = [] if request.param == "train" else ["--model", f"{place}/net.py:build"]
    return [*(word.replace("{}", str(place)) for word in COMMANDS[request.param]), *model, "--out"]


def contents(place: Path) -> list[Path]:
    return sorted(path for path in place.rglob("*") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("words", COMMANDS, indirect=True)
@pytest.mark.parametrize("out", OUT)
def test_a_folder_that_cannot_be_is_one_line(tapetum: CommandLine, place: Path, words: Any, out: Any) -> None:
    before = contents(place)
    answer = tapetum(*words, OUT[out].replace("{}", str(place)))
    assert (answer.status, answer.out, len(answer.err.splitlines())) == (2, "", 1), answer.err
    assert "unexpected" not in answer.err
    assert contents(place) == before


@pytest.mark.parametrize("words", COMMANDS, indirect=True)
def test_a_working_folder_that_is_gone_is_one_line(
    tapetum: CommandLine, place: Path, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "gone").mkdir()
    monkeypatch.chdir(place / "gone")
    (place / "gone").rmdir()
    before = contents(place)
    answer = tapetum(*words, "out")
    assert (answer.status, answer.out, len(answer.err.splitlines())) == (2, "", 1), answer.err
    assert "unexpected" not in answer.err
    monkeypatch.chdir(place)
    assert contents(place) == before


@pytest.mark.parametrize("words", ["run", "inspect"], indirect=True)
def test_what_a_killed_run_left_is_cleared_away_and_what_others_fill_stays(
    tapetum: CommandLine, place: Path, words: str
) -> None:
    import fcntl

    assert tapetum(*words, "out").status == 0
    for folder in (place, place / "out"):
        for name in ("0", "1"):
            (folder / f".tapetum-{name * 32}").mkdir()
            (folder / f".tapetum-{name * 32}" / "half.png").write_text("half")
    (place / ".tapetum-mine").mkdir()
    alive = os.open(place / f".tapetum-{'1' * 32}", os.O_RDONLY)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX)
        assert tapetum(*words, "new").status == 0
        assert tapetum(*words, "out").status == 0
    finally:
        os.close(alive)
    assert sorted(path.name for path in place.rglob(".*")) == [f".tapetum-{'1' * 32}", ".tapetum-mine"]
