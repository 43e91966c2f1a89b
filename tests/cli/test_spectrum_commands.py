"""`tapetum spectrum` and `tapetum examples`: figures that say where they came from, arrays, and a report for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine, photo

import tapetum as tp
from tapetum.reports.provenance import read_picture


@pytest.fixture
def data(place):
    folder = place / "data"
    folder.mkdir()
    for i in range(5):
        photo(seed=i).save(folder / f"{i}.png")
    return folder


def test_a_spectrum_is_a_figure_a_unit_with_its_provenance_and_arrays(place: Path, data: Any, tapetum: CommandLine) -> None:
    layer = "features.2"
    words = ("spectrum", f"{layer}:0-1", "--data", data, "--model", "net.py:build", "--out", "out", "--k", 2)
    answer = tapetum(*words, "--size", 32, "--steps", 2, "--workers", 1)
    assert answer.status == 0, answer.err
    report = json.loads((place / "out" / "report.json").read_text())
    assert [row["unit"] for row in report["images"]] == [f"{layer}:0", f"{layer}:1"]
    for row in report["images"]:
        content, levels = read_picture(place / "out" / row["picture"])
        assert content["unit"] == row["unit"]
        assert content["examples"] == row["examples"]
        assert (content["method"], content["model"]) == ("activation_spectrum", "net.py:build")
        assert content["data"]["sha256"] == tp.as_source(data).fingerprint()
        assert levels.shape[2] == 3
        (saved,) = tp.open(place / "out" / row["result"])
        assert [one.id for one in saved.maximum.examples] == [one["id"] for one in row["examples"]["maximum"]]
        assert row["optimized"] == pytest.approx(
            dict(zip(("negative", "positive"), saved.optimized_scores.tolist(), strict=True))
        )
    assert "features-2-0.png" in answer.out
    refused = tapetum("reproduce", "out/features-2-0.png")
    assert (refused.status, "is a figure of a data set (data)" in refused.err) == (2, True)
    again = tapetum(*words, "--no-optimize")  # an earlier report is replaced
    assert again.status == 0
    assert json.loads((place / "out" / "report.json").read_text())["images"][0]["optimized"] is None


def test_examples_have_places_and_what_could_not_be_read_is_named(place: Path, data: Any, tapetum: CommandLine) -> None:
    (data / "broken.png").write_text("no picture")
    answer = tapetum("examples", "features.2:3", "--data", data, "--model", "net.py:build", "--out", "out", "--k", 3)
    assert answer.status == 1
    assert "broken.png" in answer.err
    report = json.loads((place / "out" / "report.json").read_text())
    (row,) = report["images"]
    assert list(report["skipped"]) == ["broken.png"]
    assert len(row["examples"]["maximum"]) == 3
    assert len(row["examples"]["maximum"][0]["position"]) == 2


def test_a_scan_that_was_kept_is_not_made_again(place: Path, data: Any, tapetum: CommandLine) -> None:
    words = ("examples", "features.2:3", "--data", data, "--model", "net.py:build", "--scan", "scan", "--k", 3)
    assert tapetum(*words, "--out", "one").status == 0
    shards = {path: path.stat().st_mtime_ns for path in (place / "scan").rglob("*.npz")}
    assert shards
    assert tapetum(*words, "--out", "two").status == 0
    assert {path: path.stat().st_mtime_ns for path in (place / "scan").rglob("*.npz")} == shards
    read = [json.loads((place / folder / "report.json").read_text())["images"] for folder in ("one", "two")]
    assert read[0] == read[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("features.2:99",), "channels, 0 to"),
        (("features.2:1@2,2",), "give the whole channel"),
        (("features.2:0", "--score", "median"), "Invalid value for '--score'"),
        (("features.2:0", "--data", "absent"), "no such folder or file"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    place: Path, data: Any, tapetum: CommandLine, words: Any, said: str
) -> None:
    answer = tapetum("spectrum", "--data", data, "--model", "net.py:build", "--out", "out", *words)
    assert answer.status == 2
    assert said in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert not (place / "out").exists()
