"""Names that no file can have, places that cannot be written, a working folder that is gone: a line each, never a surprise."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Answer

NET = ("--model", "simple_cnn", "--weights", "random")
SCANNED = ("features.0.0:1", "--data", "data", *NET, "--out")
COMMANDS: dict[str, tuple[object, ...]] = {
    "explain": ("explain", "cat.png", *NET, "--out"),
    "render": ("render", "features.0.0:1", *NET, "--out"),
    "run": ("run", "grad_cam", "cat.png", *NET, "--out"),
    "scan": ("scan", "data", *NET, "--out"),
    "examples": ("examples", *SCANNED),
    "spectrum": ("spectrum", *SCANNED),
    "train": ("train", "data", "--out"),
    "atlas": ("atlas", "build", "data", *NET, "--out"),
}
PLACES = ("n" * 300, "a\0b", "text.jpg", "text.jpg/below", "pipe", "/proc/nobody/here", "full")
"""A name that is too long, one with a null, a file, below a file, a pipe, where nobody may write, a folder of somebody's."""


@pytest.fixture
def place(place: Path) -> Path:
    for name in ("cat", "dog"):
        (place / "data" / name).mkdir(parents=True, exist_ok=True)
        (place / "data" / name / "a.png").write_bytes((place / f"{name}.png").read_bytes())
    if not (place / "pipe").exists():
        os.mkfifo(place / "pipe")
    return place


def is_a_line(answer: Answer) -> None:
    assert answer.status == 2, answer
    lines = answer.err.splitlines()
    assert "unexpected" not in answer.err
    assert lines[-1].startswith("tapetum: ")
    assert lines[-1].isprintable()


@pytest.mark.parametrize("where", PLACES, ids=["long", "null", "file", "below a file", "pipe", "read-only", "full"])
@pytest.mark.parametrize("command", COMMANDS)
def test_where_nothing_can_be_written_is_said(tapetum: Callable[..., Answer], place: Path, command: str, where: str) -> None:
    is_a_line(tapetum(*COMMANDS[command], where))
    assert (place / "full" / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "odd", ["n" * 300, "a\0b", "pipe", "full", "/dev/zero"], ids=["long", "null", "pipe", "folder", "device"]
)
@pytest.mark.parametrize("option", ["--labels", "--weights", "--model", "--extra", "--mean", "picture", "reproduce", "atlas"])
def test_what_is_no_file_is_said(tapetum: Callable[..., Answer], place: Path, option: str, odd: str) -> None:
    words: dict[str, tuple[object, ...]] = {
        "--weights": ("predict", "cat.png", "--model", "simple_cnn", "--weights", odd),
        "--model": ("predict", "cat.png", "--model", f"{odd}.py:build"),
        "--extra": ("predict", "cat.png", *NET, "--extra", f"age={odd}"),
        "picture": ("predict", odd, *NET),
        "reproduce": ("reproduce", odd),
        "atlas": ("atlas", "export", odd),
    }
    is_a_line(tapetum(*words.get(option, ("predict", "cat.png", *NET, option, odd))))


@pytest.mark.parametrize("command", [*COMMANDS, "predict", "reproduce"])
def test_a_working_folder_that_is_gone_is_said(
    tapetum: Callable[..., Answer], place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    words = {"predict": ("predict", "cat.png", *NET), "reproduce": ("reproduce", "cat.png")}
    is_a_line(tapetum(*words.get(command, (*COMMANDS.get(command, ()), "out"))))
