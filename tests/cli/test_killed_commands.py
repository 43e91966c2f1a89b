"""Killed at any moment, ended by SIGTERM, out of disk: nothing is half-written, and the same command goes on."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from command_line import NETWORKS, photo
from forking import processes
from killing import ended, strays, whole

from tapetum.atlas.export import broken

NET = ("--model", "net.py:build", "--out", "out")
COMMANDS = {
    "explain": ("explain", "few", "--methods", "grad_cam", "--no-runner-up", *NET),
    "render": ("render", *(f"features.{i}.0:*" for i in range(3)), "--size", "16", "--steps", "4", *NET),
    "scan": ("scan", "many", "--batch", "4", "--k", "2", *NET),
    "atlas": ("atlas", "build", "many", "--render", "none", "--map", "none", *NET),
    "train": ("train", "photos", "--epochs", "4", "--size", "16", "--batch", "4", "--out", "out"),
    "run": ("run", "saliency", "many", *NET),
}
KILLS = 6
"""Of each command: 36 in all."""

ROOM = {"explain": 20_000, "render": 2000, "scan": 3000, "atlas": 20_000, "train": 20_000, "run": 2000}
"""Bytes that a file may have on a disk that is full in the middle of the work."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def context() -> Any:
    return processes()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of pictures, and a network."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "net.py").write_text(NETWORKS)
    for i in range(10):
        for label, side in (("wide", 60), ("small", 20)):
            (folder / "photos" / label).mkdir(parents=True, exist_ok=True)
            photo(side, seed=i).resize((40, 40)).save(folder / "photos" / label / f"{i}.png")
    (folder / "few").mkdir()
    (folder / "many").mkdir()
    for i in range(140):  # three shards
        photo(seed=i).save(folder / ("many" if i > 4 else "few") / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def references() -> dict[str, tuple[dict[str, Any], float]]:
    return {}


@pytest.fixture(params=list(COMMANDS))
def case(request: pytest.FixtureRequest, context: Any, place: Path, references: Any) -> Any:
    """(name, run, what an uninterrupted run leaves, its seconds)."""
    name = request.param
    words, out = COMMANDS[name], place / "out"

    def run(*after_s: float, **more: Any) -> tuple[int, float]:
        return ended(context, place, words, *after_s, **more)

    if name not in references:
        shutil.rmtree(out, ignore_errors=True)
        status, seconds = run()
        assert status == 0, (place / "err.txt").read_text()
        references[name] = whole(out), seconds
    shutil.rmtree(out, ignore_errors=True)
    return name, run, *references[name]


def assert_goes_on(place: Path, run: Any, expected: dict[str, Any]) -> None:
    """The same command comes to its end, and leaves what an uninterrupted one leaves."""
    status, _ = run()
    assert status == 0, (place / "err.txt").read_text()
    there = whole(place / "out")
    assert there.keys() == expected.keys()
    assert not [name for name in there if there[name] != expected[name]]
    assert strays(place) == []
    assert not (place / "out" / "site").exists() or broken(place / "out" / "site") == []


def test_a_command_that_is_killed_again_and_again_goes_on_to_the_same_bits(case: Any, place: Path) -> None:
    name, run, expected, seconds = case
    chance, kills = random.Random(name), 0
    while kills < KILLS:
        status, _ = run(chance.uniform(0, 0.9 * seconds))
        kills += status == -signal.SIGKILL
        if status == 0:  # it was done before: once more from the beginning
            shutil.rmtree(place / "out")
        elif (place / "out").exists():
            whole(place / "out")
    assert_goes_on(place, run, expected)


def test_a_command_that_is_told_to_end_says_so_and_goes_on(case: Any, place: Path) -> None:
    _, run, expected, seconds = case
    status, share = 0, 0.8
    while status == 0:  # it was done before
        shutil.rmtree(place / "out", ignore_errors=True)
        share *= 0.8
        status, _ = run(share * seconds, by=signal.SIGTERM)
    said = (place / "err.txt").read_text()
    assert status in (1, 130), said
    assert "stopped" in said, said
    assert "unexpected" not in said, said
    assert "Traceback" not in said, said
    if (place / "out").exists():
        whole(place / "out")
    assert_goes_on(place, run, expected)


def test_a_command_on_a_full_disk_says_so_and_goes_on(case: Any, place: Path) -> None:
    name, run, expected, _ = case
    status, _ = run(most=ROOM[name])
    said = (place / "err.txt").read_text().splitlines()
    assert status == 2
    assert [line for line in said if "written (File too large)" in line] == said[-1:]
    assert not [line for line in said if "unexpected" in line or "Traceback" in line]
    if (place / "out").exists():
        whole(place / "out")
    assert_goes_on(place, run, expected)
