"""Explanations are kept as they are made: the same command goes on, other settings are refused, others' files stay."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine, photo

import tapetum as tp
from tapetum.cli import explaining
from tapetum.types import Explanation

EXPLAIN = ("explain", "--model", "net.py:build", "--methods", "grad_cam", "--no-runner-up", "--out", "out")
THERE = "1 of {} are there already with the same settings, and stay as they are\n"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def asked(monkeypatch):
    """The images that are explained, in their order."""
    seen: list[str] = []
    once = explaining.explain_one

    def explain_one(network, file, plan, watcher):
        seen.append(file)
        return once(network, file, plan, watcher)

    monkeypatch.setattr(explaining, "explain_one", explain_one)
    return seen


def test_the_same_command_makes_nothing_again_and_says_the_same(tapetum: CommandLine, place: Path, asked: Any) -> None:
    first = tapetum(*EXPLAIN, "cat.png")
    before = files(place / "out")
    again = tapetum(*EXPLAIN, "cat.png")
    assert (again.status, again.out, again.err) == (0, first.out, THERE.format(1))
    assert asked == ["cat.png"]
    assert files(place / "out") == before
    assert tapetum(*EXPLAIN, "cat.png", "--no-resume").status == 0
    assert asked == ["cat.png"] * 2


def test_more_images_are_added_and_those_of_an_earlier_report_go(tapetum: CommandLine, place: Path, asked: Any) -> None:
    tapetum(*EXPLAIN, "cat.png")
    assert tapetum(*EXPLAIN, "dog.png", "cat.png").err == THERE.format(2)
    assert asked == ["cat.png", "dog.png"]
    report = json.loads((place / "out" / "report.json").read_text())
    assert [image["result"] for image in report["images"]] == ["results/dog", "results/cat"]
    assert tapetum(*EXPLAIN, "cat.png").err == THERE.format(1)
    assert {name.split("/")[0] for name in files(place / "out")} == {"cat", "results", "report.html", "report.json"}


def test_a_kept_result_opens_and_is_what_the_report_says(tapetum: CommandLine, place: Path) -> None:
    tapetum(*EXPLAIN, "cat.png")
    run = tp.open(place / "out" / "results" / "cat")
    assert isinstance(run.value, Explanation)
    (image,) = json.loads((place / "out" / "report.json").read_text())["images"]
    assert list(run.value.findings) == image["findings"]
    assert [one.seconds for one in run.value.questions[0].maps] == [one["seconds"] for one in image["attributions"]]
    assert run.provenance.method == "explain"
    assert run.provenance.files.keys() == {"cat.png", "net.py"}
    assert run.provenance.seconds > sum(one["seconds"] for one in image["attributions"])


OTHERWISE = {
    "methods": (["--methods", "saliency"], "methods was grad_cam, is saliency"),
    "seed": (["--seed", "1"], "seed was 0, is 1"),
    "target": (["--target", "dog"], "target was None, is dog"),
    "evidence": (["--no-evidence"], "evidence was True, is False"),
    "size": (["--size", "48"], "settings was"),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_other_settings_do_not_replace_what_is_there(tapetum: CommandLine, place: Path, asked: Any, case: Any) -> None:
    words, reason = OTHERWISE[case]
    tapetum(*EXPLAIN, "cat.png")
    before = files(place / "out")
    answer = tapetum(*EXPLAIN, "cat.png", *words)
    assert (answer.status, len(answer.err.splitlines())) == (2, 1)
    assert f"results/cat holds another result ({reason}" in answer.err
    assert answer.err.endswith("; give another folder, or resume=False (--no-resume) to replace it\n")
    assert files(place / "out") == before
    assert tapetum(*EXPLAIN, "cat.png", *words, "--no-resume").status == 0
    assert asked == ["cat.png"] * 2


@pytest.mark.parametrize("changed", ["cat.png", "net.py"])
def test_another_picture_or_network_of_the_same_name_is_another_setting(
    tapetum: CommandLine, place: Path, changed: str
) -> None:
    tapetum(*EXPLAIN, "cat.png")
    text = (place / "net.py").read_text()
    (place / changed).unlink()  # it is a link
    if changed == "cat.png":
        photo(seed=9).save(place / changed)
    else:
        (place / changed).write_text(text + "\n# other code, the same weights\n")
    answer = tapetum(*EXPLAIN, "cat.png")
    assert answer.status == 2
    assert "another result (files was" in answer.err


@pytest.mark.parametrize("damage", ["cut", "flipped", "no manifest", "another kind"])
def test_a_damaged_result_is_made_again(tapetum: CommandLine, place: Path, asked: Any, damage: str) -> None:
    tapetum(*EXPLAIN, "cat.png", "dog.png")
    before = files(place / "out")
    kept = place / "out" / "results" / "cat"
    data = bytearray((kept / "arrays.npz").read_bytes())
    if damage == "cut":
        (kept / "arrays.npz").write_bytes(data[:2000])
    elif damage == "flipped":
        data[len(data) // 3] ^= 255
        (kept / "arrays.npz").write_bytes(data)
    elif damage == "no manifest":
        (kept / "manifest.json").unlink()
    else:
        (kept / "manifest.json").write_text((kept / "manifest.json").read_text().replace('"Explanation"', '"Rendering"'))
    answer = tapetum(*EXPLAIN, "cat.png", "dog.png")
    assert answer.status == 0
    assert [line for line in answer.err.splitlines() if "made again" in line]
    assert asked == ["cat.png", "dog.png", "cat.png"]
    after = files(place / "out")
    changed = {name for name in before if before[name] != after[name]}  # seconds are others
    assert all(name.startswith(("report.", "results/cat/", "cat/")) for name in changed)


def test_what_another_run_had_begun_stays(tapetum: CommandLine, place: Path, asked: Any) -> None:
    tapetum(*EXPLAIN, "--model", "net.py:build", "cat.png")
    for name in ("report.html", "report.json"):
        (place / "out" / name).unlink()  # as if it had been killed
    (place / "out" / "results" / f".tapetum-{'1' * 32}").mkdir()
    (place / "out" / "results" / f".tapetum-{'1' * 32}" / "arrays.npz").write_text("half")
    (place / "out" / f".tapetum-{'0' * 32}").write_text("half")
    (place / "out" / "cat" / f".tapetum-{'0' * 32}").write_text("half")
    assert tapetum(*EXPLAIN, "dog.png").status == 0
    assert tapetum(*EXPLAIN, "cat.png", "dog.png").status == 0
    assert asked == ["cat.png", "dog.png"]
    assert not list((place / "out").rglob(".*"))


def test_a_report_of_an_earlier_version_is_replaced(tapetum: CommandLine, place: Path) -> None:
    """It kept nothing but the report."""
    import shutil

    tapetum(*EXPLAIN, "cat.png")
    shutil.rmtree(place / "out" / "results")
    report = json.loads((place / "out" / "report.json").read_text())
    del report["images"][0]["result"]
    (place / "out" / "report.json").write_text(json.dumps(report))
    assert tapetum(*EXPLAIN, "dog.png", "--seed", "3").status == 0
    assert {name.split("/")[0] for name in files(place / "out")} == {"dog", "results", "report.html", "report.json"}


# --- what somebody else put there


EVIL = ["../precious.png", "/abs/precious.png", "mine.png", "link/precious.png", "..", 3, None, {"a": 1}, "a\0b", "x" * 5000]


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("command", ["explain", "run", "render"])
def test_names_in_a_report_of_others_delete_nothing(tapetum: CommandLine, place: Path, command: str, name: Any) -> None:
    precious = place / "precious.png"
    photo().save(precious)
    tapetum(*EXPLAIN, "cat.png")
    (place / "out" / "mine.png").write_bytes((place / "cat.png").read_bytes())
    os.symlink(place, place / "out" / "link")
    name = str(precious) if name == "/abs/precious.png" else name
    row = {"picture": name, "result": name, "attributions": [{"file": name}]}
    text = json.dumps({"images": [row], "pictures": [], "method": "x", "refused": [], "figures": [name]})
    (place / "out" / "report.json").write_text(text)
    before = {path: path.read_bytes() for path in (precious, place / "out" / "mine.png")}
    words = {
        "explain": EXPLAIN,
        "run": ("run", "saliency", "--model", "net.py:build", "--out", "out"),
        "render": ("render", "tabby", "--model", "net.py:build", "--size", "16", "--steps", "1", "--out", "out"),
    }[command]
    answer = tapetum(*words, *(["cat.png"] if command != "render" else []))
    assert (answer.status, len(answer.err.splitlines())) == (2, 1)
    assert "holds other files (" in answer.err
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("where", ["results", "results/cat", "cat", "report.html"])
def test_links_are_not_followed_out_of_the_folder(tapetum: CommandLine, place: Path, where: str) -> None:
    outside = place / "outside"
    outside.mkdir()
    (place / "out" / where).parent.mkdir(parents=True)
    (place / "out" / where).symlink_to(outside if where != "report.html" else outside / "page.html")
    answer = tapetum(*EXPLAIN, "cat.png")
    assert (answer.status, len(answer.err.splitlines())) == (2, 1)
    assert f"holds other files ({where.split('/')[-1]})" in answer.err
    assert not list(outside.iterdir())


@pytest.mark.parametrize("name", ["report.json", "report.html", "cat/predicted-grad_cam.png"])
def test_a_folder_where_a_file_should_be_is_one_line(tapetum: CommandLine, place: Path, name: str) -> None:
    (place / "out" / name / "deeper").mkdir(parents=True)
    answer = tapetum(*EXPLAIN, "cat.png")
    assert (answer.status, len(answer.err.splitlines())) == (2, 1)
    assert "unexpected" not in answer.err


@pytest.mark.parametrize("name", ["results", "results/cat", "cat"])
def test_a_file_where_a_folder_should_be_is_one_line(tapetum: CommandLine, place: Path, name: str) -> None:
    (place / "out" / name).parent.mkdir(parents=True, exist_ok=True)
    (place / "out" / name).write_text("mine")
    answer = tapetum(*EXPLAIN, "cat.png")
    assert (answer.status, len(answer.err.splitlines())) == (2, 1)
    assert "holds other files" in answer.err


def test_a_second_command_in_the_same_folder_is_refused_in_a_line(tapetum, place) -> None:
    from tapetum.keeping.locks import alone

    with alone(place / "out"):
        answer = tapetum(*EXPLAIN, "cat.png")
    assert (answer.status, len(answer.err.splitlines())) == (2, 1)
    assert "another process is at work in" in answer.err
    assert not (place / "out").exists()
    assert tapetum(*EXPLAIN, "cat.png").status == 0
    assert not (place / "out" / ".lock").exists()
