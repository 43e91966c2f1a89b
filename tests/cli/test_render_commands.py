"""Renderings from the command line: one picture a unit, there when it is made, left alone when it is there, made again from
its file; and never at the cost of other files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import CommandLine
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.main import get_command

import tapetum as tp
from tapetum import registry
from tapetum.border.methods import rendering
from tapetum.cli import rendering as commands
from tapetum.cli.generated import COMMANDS, RunGroup, every_command
from tapetum.cli.main import app
from tapetum.cli.options import SETTINGS
from tapetum.cli.resumable import resumable_folder
from tapetum.registry import parameters
from tapetum.reports.provenance import read_picture
from tapetum.types import Rendering, TapetumError

RENDER = ("render", "--model", "net.py:build", "--size", "16", "--steps", "2", "--out", "out")
LAYER = "features.1.0"
RENDERINGS = [method.name for method in tp.methods(kind="rendering")]


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.png") if not path.name.startswith("sheet")}


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file))


# --- one picture a unit


def test_a_mix_of_units_is_one_picture_which_can_be_made_again(tapetum: CommandLine, place: Path) -> None:
    mix = f"{LAYER}:1 - 0.5 * {LAYER}:3 + tabby"
    answer = tapetum(*RENDER, mix)
    assert (answer.status, answer.err) == (0, "")
    (entry,) = json.loads((place / "out" / "report.json").read_text())["pictures"]
    saved = tp.open(place / "out" / entry["result"]).value
    assert torch.equal(saved.pixels, tp.visualize(tp.load("net.py:build"), mix, size=16, n_steps=2).pixels)
    again = tapetum("reproduce", f"out/{entry['file']}", "--model", "net.py:build")
    assert again.status == 0, again.err


def test_each_unit_becomes_a_picture_arrays_and_a_line(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum(*RENDER, f"{LAYER}:1,3", "tabby")
    assert (answer.status, answer.err) == (0, "")
    out = place / "out"
    names = ["features-1-0-1.png", "features-1-0-3.png", "tabby.png"]
    report = json.loads((out / "report.json").read_text())
    assert [one["file"] for one in report["pictures"]] == names
    assert report["figures"] == ["sheet.png"]
    assert {path.name for path in out.iterdir()} == {*names, "sheet.png", "results", "report.json"}
    model = tp.load("net.py:build")
    expected = tp.visualize(model, [f"{LAYER}:1", f"{LAYER}:3", "tabby"], size=16, n_steps=2)
    for row, entry in enumerate(report["pictures"]):
        saved = tp.open(out / entry["result"]).value
        assert torch.equal(saved.pixels[0], expected.pixels[row])
        levels = (expected.pixels[row] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        assert np.array_equal(pixels(out / entry["file"]), levels)
        assert entry["score"] == pytest.approx(float(expected.scores[row]))
        assert entry["status"] == "ok"
    assert answer.out.splitlines()[0].startswith(f"{LAYER}:1: ok, score ")
    assert answer.out.splitlines()[-1] == "out/sheet.png"


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        ([f"{LAYER}:99"], ["unit features.1.0:99 does not exist: features.1.0 has 8 channels, 0 to 7"]),
        (["features.9:1"], ["no layer 'features.9' in tiny; close names:"]),
        (["tabbi"], ["tabby"]),
        ([f"{LAYER}:1", "--steps", "0"], ["n_steps must be from 1 to 100000, not 0"]),
        ([f"{LAYER}:1", "--preset", "pretty"], ["pretty"]),
        ([f"{LAYER}:1", "--animate", "mp4"], ["gif, webp, html"]),
        ([f"{LAYER}:1", "--size", "huge"], ["96x160"]),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(tapetum: CommandLine, place: Path, words: Any, reasons: Any) -> None:
    answer = tapetum(*RENDER, *words)
    assert answer.status == 2
    assert len(answer.err.splitlines()) == 1
    assert all(reason in answer.err for reason in reasons)
    assert not (place / "out").exists()


def test_a_wrong_unit_among_right_ones_is_named_and_the_others_are_made(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum(*RENDER, f"{LAYER}:0", f"{LAYER}:99", f"{LAYER}:2@50,50")
    assert answer.status == 1
    assert len(answer.err.splitlines()) == 2
    report = json.loads((place / "out" / "report.json").read_text())
    assert [one["subject"] for one in report["pictures"]] == [f"{LAYER}:0"]
    assert [one["subject"] for one in report["refused"]] == [f"{LAYER}:99", f"{LAYER}:2@50,50"]


# --- again


def test_a_second_run_makes_only_what_is_missing(tapetum: CommandLine, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tapetum(*RENDER, f"{LAYER}:0-3").status == 0
    before = times(place / "out")
    (place / "out" / "features-1-0-2.png").unlink()
    asked = []
    run = commands.run
    monkeypatch.setattr(
        commands, "run", lambda name, model, units, **rest: asked.append(units) or run(name, model, units, **rest)
    )
    answer = tapetum(*RENDER, f"{LAYER}:0-4")
    assert answer.status == 0
    assert "3 of 5 are there already" in answer.err
    assert asked == [[f"{LAYER}:2", f"{LAYER}:4"]]
    after = times(place / "out")
    kept = before.keys() - {"features-1-0-2.png"}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert tapetum(*RENDER, f"{LAYER}:0-4", "--no-resume").status == 0
    assert len(asked[1]) == 5
    assert tapetum("reproduce", "out/features-1-0-4.png", "--model", "net.py:build").status == 0


def test_other_settings_do_not_replace_what_is_there(tapetum: CommandLine, place: Path) -> None:
    assert tapetum(*RENDER, f"{LAYER}:0").status == 0
    before = times(place / "out")
    for words, reason in ((["--seed", "4"], "seed was 0, is 4"), (["--negative"], "negative was False, is True")):
        answer = tapetum(*RENDER, f"{LAYER}:0", *words)
        assert answer.status == 2
        assert reason in answer.err
        assert "--no-resume" in answer.err
    assert times(place / "out") == before
    assert tapetum(*RENDER, f"{LAYER}:0", "--seed", "4", "--no-resume").status == 0
    assert times(place / "out") != before


def test_a_stopped_run_keeps_what_is_done_and_goes_on(
    tapetum: CommandLine, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = commands.run, []

    def stopping(name, model, units, **rest):
        asked.append(units)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return run(name, model, units, **rest)

    monkeypatch.setattr(commands, "AT_ONCE", 2)
    monkeypatch.setattr(commands, "run", stopping)
    answer = tapetum(*RENDER, f"{LAYER}:0-4")
    assert answer.status == 1
    assert "stopped: 2 of 5 are done" in answer.err
    assert sorted(times(place / "out")) == ["features-1-0-0.png", "features-1-0-1.png"]
    assert len(json.loads((place / "out" / "report.json").read_text())["refused"]) == 3
    assert tapetum(*RENDER, f"{LAYER}:0-4").status == 0
    assert [len(units) for units in asked[2:]] == [2, 1]


# --- other people's files


def test_a_folder_with_other_files_is_refused(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum("render", "--model", "net.py:build", f"{LAYER}:0", "--size", "16", "--steps", "1", "--out", "full")
    assert answer.status == 2
    assert "precious.txt" in answer.err
    assert (place / "full" / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["cat.png", "notes.txt", "results/mine.txt", "report.json", "movie.gif", "page.html"])
def test_a_folder_of_ours_in_which_somebody_put_a_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "results").mkdir()
    file = tmp_path / name
    if file.suffix in (".png", ".gif"):
        Image.new("RGB", (4, 4)).save(file)
    else:
        file.write_text("{}")
    with pytest.raises(TapetumError, match=f"holds other files .{file.name}"):
        resumable_folder(tmp_path)
    assert file.exists()


def test_a_picture_that_somebody_painted_over_is_not_replaced(tapetum: CommandLine, place: Path) -> None:
    assert tapetum(*RENDER, f"{LAYER}:0").status == 0
    file = place / "out" / "features-1-0-0.png"
    with Image.open(file) as opened:
        info = opened.info
        changed = Image.fromarray(255 - np.asarray(opened))
    text = PngInfo()
    text.add_text("tapetum", info["tapetum"])
    changed.save(file, pnginfo=text)
    answer = tapetum(*RENDER, f"{LAYER}:0")
    assert answer.status == 2
    assert "was changed since it was made" in answer.err
    assert np.array_equal(pixels(file), np.asarray(changed))


def test_what_a_killed_run_left_is_cleared_away(tapetum: CommandLine, place: Path) -> None:
    assert tapetum(*RENDER, f"{LAYER}:0").status == 0
    out = place / "out"
    (out / f".tapetum-{'0' * 32}").write_text("half a picture")
    (out / "results" / f".tapetum-{'1' * 32}").mkdir()
    (out / "results" / f".tapetum-{'1' * 32}" / "arrays.npz").write_text("half")
    assert tapetum(*RENDER, f"{LAYER}:0-1").status == 0
    assert not list(out.rglob(".*"))


# --- films, and pictures made again


def test_animations_and_steps_stand_beside_the_pictures(tapetum: CommandLine, place: Path) -> None:
    assert tapetum(*RENDER, f"{LAYER}:0", "--animate", "gif,html").status == 0
    report = json.loads((place / "out" / "report.json").read_text())
    assert report["animations"] == ["features-1-0-0.gif", "features-1-0-0.html"]
    assert report["figures"] == ["sheet.png", "steps.png"]
    with Image.open(place / "out" / "features-1-0-0.gif") as film:
        assert film.n_frames == 3  # the noise, and two steps
    before = times(place / "out")["features-1-0-0.png"]
    assert tapetum(*RENDER, f"{LAYER}:0", "--animate", "gif,html").status == 0
    assert times(place / "out")["features-1-0-0.png"] == before
    assert tapetum(*RENDER, f"{LAYER}:0", "--seed", "1", "--no-resume").status == 0  # what showed the other seed goes
    assert {path.name for path in (place / "out").iterdir()} == {"features-1-0-0.png", "sheet.png", "report.json", "results"}


@pytest.mark.weights
def test_a_picture_of_real_weights_is_made_again_from_its_file(tapetum: CommandLine, place: Path) -> None:
    words = ("render", "blocks.1.0:3", "blocks.1.0:7", "--size", "32x48", "--steps", "2", "--seed", "5", "--out", "out")
    assert tapetum(*words).status == 0
    file = "out/blocks-1-0-7.png"
    assert pixels(place / file).shape == (32, 48, 3)
    answer = tapetum("reproduce", file, "--out", "new.png")
    assert (answer.status, answer.out) == (0, f"{file}: the same pixels\n")
    assert np.array_equal(pixels(place / file), pixels(place / "new.png"))
    assert tapetum("reproduce", "out/sheet.png").status == 2
    answer = tapetum("reproduce", file, "--model", "efficientnet_lite0", "--weights", "random")
    assert answer.status == 1
    assert "the weights are others" in answer.out


def test_a_map_is_made_again_from_its_file(tapetum: CommandLine, place: Path) -> None:
    model = ("--model", "net.py:build")
    assert tapetum("run", "smooth_grad", "cat.png", *model, "--target", "dog", "--n-samples", "3", "--out", "maps").status == 0
    assert tapetum("explain", "cat.png", *model, "--methods", "occlusion", "--no-evidence", "--out", "report").status == 0
    for file in ("maps/cat.png", "report/cat/predicted-occlusion.png"):
        answer = tapetum("reproduce", file, *model)
        assert (answer.status, answer.out) == (0, f"{file}: the same pixels\n")
    answer = tapetum("reproduce", "maps/cat.png")
    assert answer.status == 2
    assert "--model net.py:build" in answer.err
    content, _ = read_picture(place / "maps" / "cat.png")
    assert content["files"].keys() == {"cat.png"}


# --- options from signatures


@pytest.mark.parametrize("name", RENDERINGS)
def test_a_rendering_has_the_options_of_its_signature(name: Any) -> None:
    command = RunGroup(name="run").get_command(None, name)
    own = {p.name for p in parameters(tp.lookup(name)) if p.name not in ("generator", "frames")}
    common = {"subjects", "model", "weights", "out", "resume", "animate", "frames", "help"}
    common |= {f"model_{one}" for one in SETTINGS}
    assert {parameter.name for parameter in command.params} - common == own


def test_the_commands_have_the_options_of_their_methods_and_a_line_in_the_help(tapetum: CommandLine) -> None:
    listed = tapetum("--help").out
    for name, named in COMMANDS.items():
        assert f" {name} " in listed
        assert named.help.split()[0] in listed
    command = dict(every_command(get_command(app)))["render"]
    (steps,) = [parameter for parameter in command.params if parameter.name == "n_steps"]
    assert steps.opts == ["--n-steps", "--steps"]


def test_pictures_of_photographs_stand_beside_them(tapetum: CommandLine, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that takes images, registered for this test alone."""
    monkeypatch.setattr(registry, "_methods", dict(registry._methods))

    def brighter(model, images, *, by: float | int = 0.5, seed: int = 0) -> Rendering:
        """Brighter images.

        Args:
            by: how much.
        """
        done = (model.denormalize(images) + by).clamp(0, 1)
        return Rendering(done, done.mean((1, 2, 3)), ("brighter",) * len(done), ("ok",) * len(done))

    rendering(cite=None, takes="images")(brighter)
    answer = tapetum(
        "run", "brighter", "cat.png", "text.jpg", "dog.png", "--model", "net.py:build", "--by", "0.25", "--out", "out"
    )
    assert answer.status == 1
    assert "text, not an image" in answer.err
    report = json.loads((place / "out" / "report.json").read_text())
    assert [one["file"] for one in report["pictures"]] == ["cat.png", "dog.png"]
    assert report["parameters"]["by"] == 0.25
    assert tapetum("reproduce", "out/dog.png", "--model", "net.py:build").status == 0
    assert "2 of 2 are there already" in tapetum(
        "run", "brighter", "cat.png", "dog.png", "--model", "net.py:build", "--by", "0.25", "--out", "out"
    ).err  # fmt: skip


def test_diverse_pictures_of_a_unit_are_files_of_their_own_and_made_again_one_by_one(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum(*RENDER, f"{LAYER}:0-1", "--diversity", "2")
    assert answer.status == 0
    assert f"{LAYER}:1, {LAYER}:1: ok, score" in answer.out
    report = json.loads((place / "out" / "report.json").read_text())
    assert [one["file"] for one in report["pictures"]] == [f"features-1-0-{unit}.{i}.png" for unit in (0, 1) for i in (1, 2)]
    assert not np.array_equal(*(pixels(place / "out" / f"features-1-0-1.{i}.png") for i in (1, 2)))
    assert tapetum("reproduce", "out/features-1-0-1.2.png", "--model", "net.py:build").status == 0
    assert tapetum(*RENDER, f"{LAYER}:0", "--no-resume").status == 0  # one picture takes the place of the two
    names = {path.name for path in (place / "out").glob("features-1-0-0*")}
    assert names == {"features-1-0-0.png"}


def test_a_keyword_without_a_default_is_a_required_option(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum("style", "cat.png", "--model", "net.py:build", "--out", "out")
    assert answer.status == 2
    assert "--style" in answer.err
    with pytest.raises(TapetumError, match="style_transfer needs style"):
        tp.style_transfer("simple_cnn", torch.zeros(1, 3, 32, 32))
