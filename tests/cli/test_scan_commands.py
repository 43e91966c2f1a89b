"""`tapetum scan`: a folder of results that goes on, names what it skipped, and spares the files of others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import CommandLine, photo

import tapetum as tp
from tapetum.cli import scanning
from tapetum.cli.terminal import rate
from tapetum.store import _packed

LAYERS = ("features.1.0", "features.2.0")
SCAN = ("--model", "net.py:build", "--layers", ",".join(LAYERS), "--k", "2", "--batch", "4")


@pytest.fixture
def photos(place: Path) -> Path:
    folder = place / "photos"
    (folder / "cats").mkdir(parents=True)
    for i in range(9):
        photo(seed=i).save(folder / "cats" / f"{i}.png")
    return folder


def bits(result: Any) -> dict[str, bytes]:
    arrays: dict[str, Any] = {}
    _packed(result, arrays)
    return {name: array.tobytes() for name, array in arrays.items()}


def test_results_are_those_of_the_library_and_the_same_command_goes_on(tapetum: CommandLine, place: Path, photos: Any) -> None:
    command = ("scan", photos, "--out", "out", "--trackers", "spectrum,TopK", *SCAN)
    first = tapetum(*command)
    assert (first.status, first.err) == (0, "")
    expected = tp.scan("net.py:build", photos, {layer: [tp.Spectrum(k=2), tp.TopK(k=2)] for layer in LAYERS}, batch=4)
    for layer in LAYERS:
        for name, result in zip(("0-spectrum", "1-topk"), expected[layer], strict=True):
            assert bits(tp.open(place / "out" / "results" / layer / name)) == bits(result)
    about = json.loads((place / "out" / "scan.json").read_text())
    assert about["key"] == expected.key
    assert (about["images"], about["resumed"], about["skipped_count"]) == (9, 0, 0)
    assert about["layers"][LAYERS[1]] == {
        "channels": 8,
        "grid": list(expected[LAYERS[1]][0].grid),
        "tap": "output",
        "results": [f"results/{LAYERS[1]}/{name}" for name in ("0-spectrum", "1-topk")],
    }
    assert {"decoding", "network", "trackers", "in all"} <= set(about["seconds"])
    assert about["images_per_s"] == pytest.approx(9 / about["seconds"]["in all"], rel=0.01)  # both are rounded
    assert first.out.splitlines()[-1].endswith("out/scan.json")
    again = tapetum(*command, "--json")
    assert again.status == 0
    assert json.loads(again.out)["resumed"] == 9
    lines = [json.loads(line) for line in (place / "out" / "scan.jsonl").read_text().splitlines()]
    assert max(line["pictures"] for line in lines if "pictures" in line) == 9
    assert [line["skipped"] for line in lines if "skipped" in line] == [0, 0]
    assert not [path.name for path in (place / "out").rglob(".*")]


def test_every_block_is_scanned_where_no_layers_are_named(tapetum: CommandLine, place: Path, photos: Any) -> None:
    assert tapetum("scan", photos, "--out", "out", "--model", "net.py:build", "--log", "none").status == 0
    about = json.loads((place / "out" / "scan.json").read_text())
    from tapetum.models.blocks import block_layers

    assert list(about["layers"]) == list(block_layers(tp.load("net.py:build").survey))
    assert not (place / "out" / "scan.jsonl").exists()


def test_skipped_pictures_are_named_in_ten_lines_and_all_in_scan_json(tapetum: CommandLine, place: Path, photos: Any) -> None:
    for i in range(12):
        (photos / f"bad{i:02d}.jpg").write_text("no picture")
    answer = tapetum("scan", photos, "--out", "out", *SCAN)
    assert answer.status == 1
    lines = answer.err.splitlines()
    assert len(lines) == 10
    assert "bad00.jpg" in lines[0]
    assert lines[-1] == "tapetum: and 3 other pictures were skipped; scan.json lists all"
    about = json.loads((place / "out" / "scan.json").read_text())
    assert len(about["skipped"]) == about["skipped_count"] == 12
    assert about["images"] == 9


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("nowhere",), "nowhere: no such folder or file"),
        (("photos", "--layers", "features.9"), "no layer 'features.9' in tiny; close names:"),
        (("photos", "--trackers", "spektrum"), "no tracker 'spektrum'; there are"),
        (("photos", "--trackers", ","), "--trackers names nothing"),
        (("photos", "--log", "wanbd"), "no logger 'wanbd'; did you mean wandb?"),
        (("photos", "--score", "sum"), "Invalid value for '--score'"),
        (("photos", "--precision", "low"), "Invalid value for '--precision'"),
        (("words",), "words"),
        (("photos", "--shards", "bla://x"), "bla://x cannot be understood"),
    ],
)
def test_what_is_wrong_is_one_line_with_status_2(
    tapetum: CommandLine, place: Path, photos: Any, words: Any, reason: str
) -> None:
    answer = tapetum("scan", *words, "--out", "out", "--model", "net.py:build")
    assert answer.status == 2
    assert len(answer.err.splitlines()) == 1
    assert reason in answer.err
    assert not (place / "out" / "scan.json").exists()


def test_a_folder_that_holds_other_things_is_refused_and_left_alone(tapetum: CommandLine, place: Path, photos: Any) -> None:
    answer = tapetum("scan", photos, "--out", "full", *SCAN)
    assert answer.status == 2
    assert "full holds other files (precious.txt)" in answer.err
    assert (place / "full" / "precious.txt").read_text() == "mine"


def test_another_scan_in_the_folder_is_refused_and_replaced_when_asked(tapetum: CommandLine, place: Path, photos: Any) -> None:
    assert tapetum("scan", photos, "--out", "out", *SCAN).status == 0
    other = tapetum("scan", photos, "--out", "out", *SCAN[:-1], "8")
    assert other.status == 2
    assert "holds another scan (batch was 4, is 8)" in other.err
    assert tapetum("scan", photos, "--out", "out", *SCAN[:-1], "8", "--no-resume").status == 0
    assert json.loads((place / "out" / "scan.json").read_text())["settings"]["batch"] == 8


def test_ctrl_c_says_that_the_same_command_goes_on(tapetum: CommandLine, place: Path, photos: Any) -> None:
    photo(seed=77).save(photos / "a.png")
    (photos / "white.png").write_bytes((place / "white.png").read_bytes())
    answer = tapetum("scan", photos, "--out", "out", "--model", "net.py:interrupting", "--batch", "1", "--workers", "1")
    assert answer.status == 130
    assert answer.err.splitlines() == ["tapetum: stopped: 10 of 11 pictures are done; the same command goes on"]
    assert not (place / "out" / "scan.json").exists()


@pytest.mark.slow
def test_a_real_ctrl_c_ends_the_program_with_one_line(place: Path, photos: Any) -> None:
    for i in range(9, 400):
        (photos / f"{i}.png").write_bytes((photos / "cats" / "1.png").read_bytes())
    command = [sys.executable, "-m", "tapetum", "scan", str(photos), "--out", "out", *SCAN, "--workers", "2"]
    program = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(Path("out").glob("shards/*.npz")) and time.monotonic() < deadline:
        time.sleep(0.01)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 130
    assert errors.startswith("tapetum: stopped: ")
    assert errors.endswith("the same command goes on\n")
    assert len(errors.splitlines()) == 1


def test_shards_may_be_kept_at_a_url(tapetum: CommandLine, place: Path, photos: Any) -> None:
    there = f"file://{place}/there"
    assert tapetum("scan", photos, "--out", "out", "--shards", there, *SCAN).status == 0
    assert not (place / "out" / "shards").exists()
    assert {path.suffix for path in (place / "there" / "shards").iterdir()} == {".parquet"}
    again = tapetum("scan", photos, "--out", "out", "--shards", there, *SCAN, "--json")
    assert json.loads(again.out)["resumed"] == 9


def test_results_of_a_run_that_was_killed_while_it_saved_are_made_again(tapetum: CommandLine, place: Path, photos: Any) -> None:
    assert tapetum("scan", photos, "--out", "out", *SCAN).status == 0
    leftover = place / "out" / f".tapetum-{'0' * 32}" / "features.1.0" / f".tapetum-{'1' * 32}"
    leftover.mkdir(parents=True)
    (leftover / "arrays.npz").write_bytes(b"half")
    (place / "out" / "results" / LAYERS[0] / "0-spectrum" / "arrays.npz").unlink()
    assert tapetum("scan", photos, "--out", "out", *SCAN).status == 0
    assert not list((place / "out").glob(".*"))
    tp.open(place / "out" / "results" / LAYERS[0] / "0-spectrum")


def test_every_tracker_of_the_package_has_a_name_and_settings_reach_it() -> None:
    assert {"spectrum", "topk", "counts"} <= set(scanning.tracker_classes())
    assert scanning.made_trackers("topk, counts", {"k": 3, "score": "mean"}) == [tp.TopK(k=3, score="mean"), tp.Counts("mean")]


def test_odd_names_of_layers_make_folders_of_their_own() -> None:
    assert scanning.folder_name("a/b:c") == "a%2fb%3ac"
    assert scanning.folder_name("blocks.3.0") == "blocks.3.0"


def test_the_bar_shows_pictures_a_second() -> None:
    assert rate(tp.Progress(3, 9, "pictures", 123.4)) == "123 pictures/s"
    assert rate(tp.Progress(3, 9, "steps", 123.4)) == rate(tp.Progress(3, 9, "pictures")) == ""


def test_a_picture_of_every_unit_can_be_looked_up(tapetum: CommandLine, place: Path, photos: Any) -> None:
    assert tapetum("scan", photos, "--out", "out", *SCAN).status == 0
    spectrum = tp.open(place / "out" / "results" / LAYERS[0] / "0-spectrum")
    best = [spectrum.maximum(channel)[0] for channel in range(spectrum.channels)]
    assert all((photos / one.id).is_file() for one in best)
    assert np.isfinite([one.score for one in best]).all()
    assert os.listdir(place / "out" / "shards") == ["000000.npz"]
