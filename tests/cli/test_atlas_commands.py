"""`tapetum atlas build | export`, called as people do; `serve` is tried in tests/atlas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine

LINE = ("atlas", "build", "photos", "--model", "net.py:build", "--out", "out", "--render", "none", "--map", "none")


@pytest.fixture
def photos(place: Path) -> Path:
    """A folder with one picture that is damaged."""
    folder = place / "photos"
    folder.mkdir()
    for name in ("cat.png", "dog.png"):
        (folder / name).symlink_to(place / name)
    (folder / "zebra.jpg").write_bytes(b"this is no picture")
    return folder


def test_a_build_says_where_the_site_is_and_what_it_left_out(tapetum: CommandLine, place: Path, photos: Path) -> None:
    answer: Any = tapetum(*LINE)
    assert (answer.status, answer.out) == (1, "out/site/index.html\n")
    said = answer.err.splitlines()
    assert any("zebra.jpg: " in line for line in said)
    assert said[-1].endswith("units over 2 pictures")
    (photos / "zebra.jpg").unlink()
    again: Any = tapetum(*LINE)
    assert again.status == 2
    assert "another scan (data was" in again.err
    assert len(again.err.splitlines()) == 1
    fresh: Any = tapetum(*LINE, "--no-resume", "--limit", "1")
    assert (fresh.status, fresh.out) == (0, "out/site/index.html\n")
    assert json.loads((place / "out" / "manifest.json").read_text())["data"]["pictures"] == 1


def test_a_site_is_written_elsewhere(tapetum: CommandLine, place: Path, photos: Path) -> None:
    assert tapetum(*LINE).status == 1
    answer: Any = tapetum("atlas", "export", "out", "--out", "web/site")
    assert (answer.status, answer.out) == (0, "web/site/index.html\n")
    assert (place / "web" / "site" / "data" / "index.js").is_file()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("build", "nowhere", "--out", "out"), "nowhere"),
        (("build", "photos", "--model", "net.py:build", "--layers", "blocks.9", "--out", "out"), "no layer 'blocks.9'"),
        (("build", "photos", "--model", "net.py:build", "--layers", " , ", "--out", "out"), "--layers names nothing"),
        (("build", "photos", "--model", "net.py:build", "--out", "."), "holds other files"),
        (("export", "photos"), "photos holds no atlas"),
        (("serve", "photos"), "photos holds no atlas"),
        (("serve", "photos", "--weights", "x.pth"), "--weights are those of --model"),
        (("draw",), "No such command 'draw'"),
    ],
)
def test_refusals_are_one_line(tapetum: CommandLine, place: Path, photos: Path, line: tuple[str, ...], words: str) -> None:
    before = sorted(path.name for path in place.iterdir())
    answer: Any = tapetum("atlas", *line)
    assert (answer.status, answer.out, len(answer.err.splitlines())) == (2, "", 1)
    assert words in answer.err
    assert sorted(path.name for path in place.iterdir()) == before
