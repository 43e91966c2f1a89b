"""`tapetum suppress`: the patch, the report and the figure; the patch as weights of other commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import tapetum as tp
from tapetum.cli.main import main
from tapetum.cli.suppressing import _chosen

ABOUT = "planted:objects:border=1:classes=house,fish,car:size=24"


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return int(end.value.code or 0)


@pytest.mark.slow
def test_a_cue_is_suppressed_and_its_patch_is_weights(tmp_path: Path, capsys) -> None:
    data = f"{ABOUT}:n=180"
    tp.train(data, epochs=5, batch=16, learning_rate=4e-3, out=tmp_path / "net")
    out = tmp_path / "out"
    status = run(
        "suppress", f"{ABOUT}:n=120:seed=1", "--model", tmp_path / "net", "--cue", "border", "--label", "all", "--out", out
    )
    said = capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    assert status == (0 if report["reached"] else 1)
    assert report["cue"] == "border"
    assert report["measured"]["pull"][1] < report["measured"]["pull"][0]
    assert (out / "repair.png").is_file()
    assert "--weights" in said
    edited = tp.load(str(tmp_path / "net"), weights=out / "patch.safetensors")
    kept = tp.open(out / "repair")
    assert torch.equal(dict(edited.module.named_parameters())["classifier.weight"][kept.patch.rows["classifier.weight"]],
                       kept.patch.after["classifier.weight"])  # fmt: skip
    tp.planted("objects", n=1, size=24).write(tmp_path / "drawn")
    file = next((tmp_path / "drawn").rglob("pictures/*/*.png"))
    assert run("predict", file, "--model", tmp_path / "net", "--weights", out / "patch.safetensors") == 0
    assert run("predict", file, "--model", "simple_cnn", "--weights", out / "patch.safetensors") == 2
    assert "other weights" in capsys.readouterr().err
    again = run(
        "suppress", f"{ABOUT}:n=120:seed=1", "--model", tmp_path / "net", "--cue", "border", "--label", "all", "--out", out
    )
    assert again == status  # an earlier report is replaced


def suspicion(kind: str, label: str) -> tp.Suspicion:
    empty = torch.zeros(0, 3, 8, 8)
    return tp.Suspicion(kind, label, 0.5, (0.4, 0.6), 0.01, (0.9, 0.1), 8, (), (), empty, empty, empty, torch.zeros(0, 2))


class Found:
    """What an audit says, as far as the choice needs it."""

    suspicions = (suspicion("border", "a"), suspicion("color", "a"), suspicion("border", "b"))
    effects = dict.fromkeys(("border", "color", "texture"))
    classes = ("a", "b", "c")


@pytest.mark.parametrize(
    ("cue", "label", "expected"),
    [
        (None, None, ["border a"]),
        ("color", None, ["color a"]),
        (None, "all", ["border a", "border b"]),
        ("border", "b", ["border b"]),
        ("border", "b,a", ["border a", "border b"]),
    ],
)
def test_the_suspicion_is_the_one_that_was_named(cue, label, expected) -> None:
    assert [f"{one.kind} {one.label}" for one in _chosen(Found, cue, label)] == expected


@pytest.mark.parametrize(
    ("cue", "label", "words"),
    [
        ("frame", None, "no cue 'frame'"),
        (None, "z", "no class 'z'"),
        ("texture", None, "no such suspicion"),
        (None, "c", "no such"),
    ],
)
def test_a_name_that_is_none_is_refused(cue, label, words) -> None:
    with pytest.raises(tp.TapetumError, match=words):
        _chosen(Found, cue, label)
