"""The how-to pages about units run as they stand, the one with a folder on pictures that were drawn for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import tapetum as tp

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"


def run(name: str) -> dict[str, Any]:
    """What the names of a page are after its last block."""
    names: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for block in re.findall(r"```python\n(.*?)```", (HOWTO / name).read_text("utf-8"), re.DOTALL):
            exec(compile(block, name, "exec"), names)
    return names


def test_the_page_on_rendering_runs() -> None:
    names = run("render.md")
    assert len(names["several"]) == 3 + 2 + 1 + 1  # a range, a list, a place, a class
    assert names["found"].channels.shape == (1, 2, 2)


def test_the_page_on_examples_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tp.planted("objects", n=12, size=48).write(tmp_path / "drawn")
    (tmp_path / "drawn" / "pictures").rename(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    names = run("scan.md")
    assert [unit.unit for unit in names["tops"]] == ["features.2:5", "features.2:6"]
    assert float(names["higher"].max()) > 0.5


def test_the_page_on_five_questions_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tp.planted("objects", n=24, size=48).write(tmp_path / "drawn")
    (tmp_path / "drawn" / "pictures").rename(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    names = run("questions.md")
    assert [one.topic for one in names["answers"]] == ["hierarchy", "space", "redundancy", "abstraction", "uses"]
    assert names["answers"].of("hierarchy").verdict != "yes"  # random weights


def test_the_page_on_ranking_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tp.planted("objects", n=8, size=48).write(tmp_path / "drawn")
    (tmp_path / "drawn" / "pictures").rename(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    names = run("rank.md")
    assert len(names["ranking"].pictures) == 6
    assert str(names["again"]) == str(names["ranking"])
