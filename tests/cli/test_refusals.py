"""Whatever is wrong is one line on standard error, the right exit status, and nothing on the disk."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import CommandLine

EXPLAIN = ("explain", "--model", "net.py:build", "--methods", "grad_cam", "--no-runner-up", "--out", "out")
RUN = ("run", "grad_cam", "--model", "net.py:build", "--out", "out")
PREDICT = ("predict", "--model", "net.py:build")


def contents(folder):
    return sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts)


def refused(tapetum, place, *words):
    """The one line that says why."""
    before = contents(place)
    answer = tapetum(*words)
    assert answer.status == 2
    assert answer.out == ""
    assert contents(place) == before
    (line,) = answer.err.splitlines()
    assert line.startswith("tapetum: ")
    assert "Traceback" not in line
    assert "unexpected" not in line
    return line


BAD_IMAGES = {
    "none.png": "none.png: no such file",
    "text.jpg": "text.jpg: text, not an image",
    "cut.jpg": "cut.jpg: cut off or damaged",
    "empty.png": "empty.png: empty",
    "nothing": "nothing: no images in this folder",
    "words": "words: no images in this folder",
    "bomb.png": "bomb.png: 10000 x 10001, more than 64 million pixels",
    "http://127.0.0.1:9/cat.png": "http://127.0.0.1:9/cat.png: cannot be fetched",
    "ftp://host/cat.png": "only http and https",
}


@pytest.mark.parametrize("image", BAD_IMAGES)
@pytest.mark.parametrize("words", [EXPLAIN, RUN, PREDICT], ids=["explain", "run", "predict"])
def test_a_bad_image_is_named_with_the_reason(
    tapetum: CommandLine, place: Path, monkeypatch: pytest.MonkeyPatch, words: Any, image: Any
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    line = refused(tapetum, place, *words, image)
    assert BAD_IMAGES[image] in line
    assert line.count(image) == 1 or image == "none.png"


WRONG = {
    "unknown method": ([*EXPLAIN, "cat.png", "--methods", "grad_cams"], "no method 'grad_cams'; close names: grad_cam"),
    "no method": ([*EXPLAIN, "cat.png", "--methods", ","], "--methods names nothing"),
    "a metric for a method": ([*EXPLAIN, "cat.png", "--methods", "deletion"], "deletion makes no map"),
    "no prediction": (["predict", "cat.png", "--model", "net.py:build", "--k", "0"], "Invalid value for '--k'"),
    "unknown method to run": (["run", "gradcam", "cat.png"], "no method 'gradcam'; close names: grad_cam"),
    "a metric to run": (["run", "insertion", "cat.png"], "insertion makes no map"),
    "no method to run": (["run"], "Missing command; see tapetum run --help"),
    "unknown model": (["explain", "cat.png", "--model", "resnet5000"], "no model 'resnet5000'; close names: resnet50"),
    "syntax error": (["explain", "cat.png", "--model", "broken.py:build"], "broken.py cannot be imported (SyntaxError"),
    "no model file": (["explain", "cat.png", "--model", "none.py:build"], "no file none.py"),
    "no factory": (["predict", "cat.png", "--model", "net.py:made"], "has no function 'made'"),
    "no module": (["predict", "cat.png", "--model", "net.py:number"], "returned int"),
    "NaN weights": ([*EXPLAIN, "cat.png", "--model", "net.py:nan"], "answers with NaN or infinity"),
    "NaN weights, predict": (["predict", "cat.png", "--model", "net.py:nan"], "answers with NaN or infinity"),
    "misfit": ([*EXPLAIN, "cat.png", "--weights", "misfit.pth"], "misfit.pth does not fit SimpleCNN"),
    "no weights": ([*EXPLAIN, "cat.png", "--weights", "none.pth"], "no weights file none.pth"),
    "junk weights": ([*RUN, "cat.png", "--weights", "junk.pth"], "junk.pth"),
    "index": ([*EXPLAIN, "cat.png", "--target", "4"], "class 4 does not exist: tiny has 4 classes, 0 to 3"),
    "negative index": ([*EXPLAIN, "cat.png", "--target", "-1"], "class -1 does not exist"),
    "unknown label": ([*EXPLAIN, "cat.png", "--target", "taby"], "close names: 0 (tabby)"),
    "ambiguous label": ([*EXPLAIN, "cat.png", "--target", "cat"], '"cat" fits 2 labels: 1 (tiger cat), 3 (cat house)'),
    "superscript": ([*EXPLAIN, "cat.png", "--target", "²"], 'no label "²"'),
    "target of run": ([*RUN, "cat.png", "dog.png", "--target", "9"], "class 9 does not exist"),
    "layer": ([*RUN, "cat.png", "dog.png", "--layer", "feature.2"], "no layer 'feature.2' in tiny; close names: features.2"),
    "two layers": ([*RUN, "cat.png", "--layer", "features.*"], "layers of tiny"),
    "flat layer": ([*RUN, "cat.png", "--layer", "classifier"], "gives no map"),
    "out of range": (["run", "rise", "cat.png", "--n-masks", "1"], "n_masks must be from 2 to"),
    "no number": (["run", "rise", "cat.png", "--n-masks", "many"], "Invalid value for '--n-masks'"),
    "no fill": (["run", "occlusion", "cat.png", "--model", "net.py:build", "--fill", "green"], "no fill 'green'"),
    "no batch": (["run", "occlusion", "cat.png", "--batch", "some"], "batch is one of auto"),
    "no choice": (
        ["run", "integrated_gradients", "cat.png", "--quadrature", "best"],
        "Invalid value for '--quadrature': 'best' is not one of",
    ),
    "option": ([*EXPLAIN, "cat.png", "--targets", "3"], "No such option: --targets"),
    "no image": (["explain"], "Missing argument 'IMAGE...'; see tapetum explain --help"),
    "command": (["explian"], "No such command 'explian'"),
    "model pattern": (["models", "resnot"], "no model's name contains 'resnot'"),
    "family": (["methods", "cam"], "no family 'cam'; there are"),
    "layer pattern": (["layers", "net.py:build", "lair*"], "no layer 'lair*'"),
    "photograph": (["demo", "--photo", "dog"], 'no packaged photograph "dog"'),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_line_that_says_what_would_work(tapetum: CommandLine, place: Path, case: Any) -> None:
    words, reason = WRONG[case]
    assert reason in refused(tapetum, place, *words)


@pytest.mark.parametrize("words", [EXPLAIN[:-1], RUN[:-1]], ids=["explain", "run"])
@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("cat.png", "is a file; give a folder"),
        ("full", "holds other files (precious.txt)"),
        (".", "holds other files"),
        ("/proc/nowhere", "cannot be written"),
        ("cat.png/inside", "cannot be written"),
        ("x" * 300, "cannot be written"),
    ],
)
def test_a_folder_that_cannot_be_had_is_refused_before_the_work(
    tapetum: CommandLine, place: Path, words: Any, out: str, reason: str
) -> None:
    assert reason in refused(tapetum, place, *words, out, "cat.png")
    assert (place / "full" / "precious.txt").read_text() == "mine"


def test_a_folder_with_somebody_elses_report_json_is_not_replaced(tapetum: CommandLine, place: Path) -> None:
    (place / "theirs").mkdir()
    (place / "theirs" / "report.json").write_text(json.dumps({"images": [], "versions": {}}))
    (place / "theirs" / "data.csv").write_text("1,2")
    assert "data.csv" in refused(tapetum, place, *EXPLAIN, "cat.png", "--out", "theirs")


def test_an_earlier_report_is_replaced_and_only_it(tapetum: CommandLine, place: Path) -> None:
    (place / "out").mkdir()
    identity = os.stat("out").st_ino
    for image in ("cat.png", "dog.png"):
        assert tapetum(*EXPLAIN, image).status == 0
        assert {path.name for path in (place / "out").iterdir()} == {image[:3], "results", "report.html", "report.json"}
        assert [path.name for path in (place / "out" / "results").iterdir()] == [image[:3]]
    assert os.stat("out").st_ino == identity  # it may be a mount, or somebody's working directory
    assert tapetum(*RUN, "cat.png").status == 0
    assert {path.name for path in (place / "out").iterdir()} == {"cat", "cat.png", "report.json"}
    (place / "out" / "mine.txt").write_text("mine")
    assert "mine.txt" in refused(tapetum, place, *RUN, "cat.png")


def test_a_method_that_stops_in_the_middle_leaves_nothing(
    tapetum: CommandLine, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapetum.cli.running.save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    before = contents(place)
    answer = tapetum(*RUN, "cat.png", "--out", "new/deep/out")
    assert answer.status == 2
    assert "No space left" in answer.err
    assert contents(place) == before


def test_a_page_that_cannot_be_written_leaves_what_was_found_out(
    tapetum: CommandLine, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapetum.cli.explaining.write_report", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "disk full")))
    answer = tapetum(*EXPLAIN, "cat.png", "--out", "new/deep/out")
    assert answer.status == 2
    assert answer.err.endswith("cannot be written (disk full); once it can, the same command goes on\n")
    monkeypatch.undo()
    monkeypatch.chdir(place)
    assert "1 of 1 are there already" in tapetum(*EXPLAIN, "cat.png", "--out", "new/deep/out").err


@pytest.mark.parametrize("words", [EXPLAIN, RUN, PREDICT], ids=["explain", "run", "predict"])
def test_bad_files_among_good_ones_are_named_and_the_good_ones_done(tapetum: CommandLine, place: Path, words: Any) -> None:
    answer = tapetum(*words, "text.jpg", "cat.png", "nothing", "dog.png", "none.png")
    assert answer.status == 1
    lines = answer.err.splitlines()
    assert len(lines) == 3
    for name in ("text.jpg", "nothing", "none.png"):
        assert sum(line.startswith(f"tapetum: {name}: ") for line in lines) == 1
    if words is not PREDICT:
        report = json.loads((place / "out" / "report.json").read_text("utf-8"))
        assert [image["file"] for image in report["images"]] == ["cat.png", "dog.png"]
        assert {one["file"] for one in report["refused"]} == {"text.jpg", "nothing", "none.png"}
    if words is EXPLAIN:
        assert "text, not an image" in (place / "out" / "report.html").read_text("utf-8")


def test_a_network_that_stumbles_over_one_image_keeps_the_others(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum(*EXPLAIN, "--model", "net.py:stumbling", "white.png", "cat.png")
    assert answer.status == 1
    assert answer.err == "tapetum: white.png: unexpected RuntimeError: first line second line (--debug shows where)\n"


def test_debug_shows_the_traceback(place: Path) -> None:
    from tapetum.cli import main

    with pytest.raises(RuntimeError, match="first line"):
        main([*EXPLAIN, "--model", "net.py:stumbling", "white.png", "--debug"])


@pytest.mark.parametrize("words", [EXPLAIN, RUN, PREDICT], ids=["explain", "run", "predict"])
def test_ctrl_c_before_anything_is_done_ends_with_130_and_leaves_nothing(tapetum: CommandLine, place: Path, words: Any) -> None:
    before = contents(place)
    answer = tapetum(*words, "--model", "net.py:interrupting", "white.png", "cat.png")
    assert (answer.status, answer.out, answer.err) == (130, "", "tapetum: stopped\n")
    assert contents(place) == before


@pytest.mark.parametrize("words", [EXPLAIN, RUN], ids=["explain", "run"])
def test_ctrl_c_later_keeps_what_is_done(tapetum: CommandLine, place: Path, words: Any) -> None:
    answer = tapetum(*words, "--model", "net.py:interrupting", "cat.png", "white.png", "dog.png")
    assert answer.status == 1
    assert answer.err == f"stopped: 1 of 3 images are done{'; the same command goes on' if words is EXPLAIN else ''}\n"
    report = json.loads((place / "out" / "report.json").read_text("utf-8"))
    assert [image["file"] for image in report["images"]] == ["cat.png"]
    assert [one["file"] for one in report["refused"]] == ["white.png", "dog.png"]
    assert not [path for path in contents(place) if path.name.startswith(".")]


def test_a_method_that_was_asked_for_and_refuses_is_named(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum(*EXPLAIN, "--model", "net.py:flat", "cat.png", "dog.png", "--methods", "grad_cam")
    assert answer.status == 1
    assert len(answer.err.splitlines()) == 1
    assert answer.err.startswith("no map from grad_cam: ")
    assert "No method gave a map of" in answer.out
    image = json.loads((place / "out" / "report.json").read_text("utf-8"))["images"][0]
    assert [one["method"] for one in image["refused"]] == ["grad_cam"]
    assert all(one["baseline"] for one in image["attributions"])
    assert "Methods that gave no map" in (place / "out" / "report.html").read_text("utf-8")


def test_the_call_as_a_function_leaves_no_state(tapetum: CommandLine, place: Path) -> None:
    import signal
    import sys
    import warnings

    def state():
        return (
            os.getcwd(), dict(os.environ), list(sys.path), sys.excepthook, sys.stdout, sys.stderr, list(warnings.filters),
            signal.getsignal(signal.SIGINT), torch.get_rng_state().tolist(), torch.is_grad_enabled(), os.umask(0o022),
        )  # fmt: skip

    before = state()
    tapetum(*EXPLAIN, "cat.png")
    tapetum(*EXPLAIN, "text.jpg")
    tapetum("nonsense")
    assert state() == before
