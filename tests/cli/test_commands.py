"""Every command helps; `run` has exactly the options of each method; the bar moves only where it can be seen."""

import inspect
import io
import json
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import CommandLine, png_text
from typer.main import get_command

import tapetum as tp
from tapetum.border.texts import as_value
from tapetum.cli.generated import RunGroup, every_command
from tapetum.cli.main import app
from tapetum.cli.options import SETTINGS, sentence
from tapetum.cli.terminal import bar
from tapetum.progress import Progress
from tapetum.registry import parameters

METHODS = [method.name for method in tp.methods(kind="attribution")]
COMMON = {"images", "model", "weights", "target", "on", "out", "help", *(f"model_{one}" for one in SETTINGS)}


COMMANDS = dict(every_command(get_command(app)))
OWN = [words for words in COMMANDS if not words.startswith("run ")]


@pytest.mark.parametrize("command", [*OWN, "run", "atlas"])
def test_every_command_helps(tapetum: CommandLine, command: Any) -> None:
    answer = tapetum(*command.split(), "--help")
    assert (answer.status, answer.err) == (0, "")
    assert f"tapetum {command}" in answer.out


def is_a_sentence(text):
    """Begins with a capital letter, not with a preposition or a question, and ends with a period."""
    return re.match(r"(?!(Of|What|How)\b)[A-Z]", text) is not None and text.endswith(".")


def test_every_help_is_a_sentence_that_stands_alone() -> None:
    group: Any = get_command(app)
    lines = {f"tapetum {name}": group.get_command(None, name).help for name in group.list_commands(None)}
    for words, command in COMMANDS.items():
        lines[words] = command.help.split("\n\n")[0]
        lines.update({f"{words} {one.opts[0]}": one.help for one in command.params if one.name != "help"})
    assert {words: text for words, text in lines.items() if not is_a_sentence(text or "")} == {}


def test_the_version_is_the_package_s(tapetum: CommandLine) -> None:
    assert tapetum("--version").out == f"tapetum {version('tapetum')}\n"


def test_without_a_command_it_helps_and_says_that_nothing_was_done(tapetum: CommandLine) -> None:
    answer = tapetum()
    assert answer.status == 2
    assert "explain" in answer.out


@pytest.mark.parametrize("name", METHODS)
def test_run_has_exactly_the_options_of_the_signature(name: Any) -> None:
    command = RunGroup(name="run").get_command(None, name)
    options = {parameter.name: parameter for parameter in command.params}
    own = {p.name: p for p in parameters(tp.lookup(name)) if p.name != "generator"}
    assert set(options) - COMMON == set(own)
    signature = inspect.signature(getattr(tp, name))
    for key, parameter in own.items():
        default = options[key].default
        assert default == signature.parameters[key].default or default == str(signature.parameters[key].default)
        assert sentence(parameter.help) in options[key].help
        if parameter.range is not None:
            assert f"From {parameter.range.low} to {parameter.range.high}." in options[key].help


@pytest.mark.parametrize("name", METHODS)
def test_run_help_shows_ranges_and_defaults(tapetum: CommandLine, name: Any) -> None:
    answer = tapetum("run", name, "--help")
    assert answer.status == 0
    words = " ".join(re.sub(r"[│\s]+", " ", answer.out).split())
    for parameter in parameters(tp.lookup(name)):
        if parameter.name == "generator":
            continue
        assert f"--{parameter.name.replace('_', '-')}" in words
        if parameter.default not in (None, False, True):
            assert f"[default: {parameter.default}]" in words


def test_run_lists_every_attribution(tapetum: CommandLine) -> None:
    listed = tapetum("run", "--help").out
    assert [name for name in METHODS if f" {name} " not in listed] == []


def test_a_union_takes_a_number_or_a_word_and_a_layer_stays_text() -> None:
    by_name = {p.name: p for p in parameters(tp.lookup("occlusion"))}
    assert as_value(by_name["fill"], "0.5") == 0.5
    assert as_value(by_name["fill"], "blur") == "blur"
    assert as_value(by_name["batch"], "4") == 4
    assert as_value(by_name["batch"], "auto") == "auto"
    (layer,) = [p for p in parameters(tp.lookup("grad_cam")) if p.name == "layer"]
    assert as_value(layer, "4") == "4"


def test_run_saves_what_the_method_gives(tapetum: CommandLine, place: Path) -> None:
    words = ["run", "occlusion", "--model", "net.py:build", "--window", "8", "--fill", "0.5", "--target", "dog"]
    answer = tapetum(*words, "--out", "out", "cat.png", "white.png")
    assert (answer.status, answer.err) == (0, "")
    model = tp.load("net.py:build")
    expected = tp.occlusion(model, "cat.png", "dog", window=8, fill=0.5)
    saved = tp.open(place / "out" / "cat")
    assert torch.allclose(saved.value.values, expected.values)
    provenance = json.loads(png_text(place / "out" / "cat.png")["tapetum"])
    assert provenance["file"] == "cat.png"
    assert (provenance["parameters"]["window"], provenance["parameters"]["fill"]) == (8, 0.5)
    report = json.loads((place / "out" / "report.json").read_text())
    assert [image["file"] for image in report["images"]] == ["cat.png", "white.png"]
    assert answer.out.splitlines()[0] == "cat.png: dog, ok, out/cat.png"


def test_images_of_one_name_get_files_of_their_own(tapetum: CommandLine, place: Path) -> None:
    (place / "other").mkdir()
    (place / "other" / "cat.png").symlink_to(place / "dog.png")
    assert tapetum("run", "saliency", "--model", "net.py:build", "--out", "out", "cat.png", "other").status == 0
    assert {"cat", "cat.png", "cat-2", "cat-2.png"} < {path.name for path in (place / "out").iterdir()}


def test_layers_shows_what_a_glob_means(tapetum: CommandLine, place: Path) -> None:
    answer = tapetum("layers", "resnet18", "layer4*")
    assert (answer.status, answer.err) == (0, "")
    head, *rows = answer.out.splitlines()
    assert head.split()[:3] == ["layer", "kind", "shape"]
    assert {"layer4", "layer4.1.conv2"} <= {row.split()[0] for row in rows}
    assert all(row.startswith("layer4") for row in rows)


def test_models_and_methods_list_what_there_is(tapetum: CommandLine) -> None:
    assert "efficientnet_lite0" in tapetum("models").out.split()
    only = tapetum("models", "RESNET18").out
    assert "torchvision:resnet18" in only.split()
    assert "convnext" not in only
    every = tapetum("methods").out
    assert [name for name in METHODS if name not in every] == []
    assert "occlusion" not in tapetum("methods", "cams").out


class Screen(io.StringIO):
    """A standard error that says whether it is a terminal."""

    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_shows_the_time_left_in_a_terminal_and_nothing_elsewhere(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    screen = Screen(terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with bar("[bold]cat.png") as watch:
        for done in range(11):
            assert watch(Progress(done, 10, "steps")) is None
    if terminal:
        assert "[bold]cat.png" in screen.getvalue()
        assert "left" in screen.getvalue()
        assert "0:00:0" in screen.getvalue()
    else:
        assert screen.getvalue() == ""


def test_layers_can_be_fused_tried_and_taken_as_a_library_does(tapetum: CommandLine, place: Path) -> None:
    common = ("run", "grad_cam", "cat.png", "--model", "net.py:build", "--target", "dog")
    model = tp.load("net.py:build")
    first, *_, last = [row.name for row in model.layers() if row.grid is not None and min(row.grid) > 1]
    for i, (words, keywords) in enumerate(
        [
            (("--layer", f"{first},{last}", "--fuse", "max"), {"layer": [first, last], "fuse": "max"}),
            (("--layer", "best"), {"layer": "best"}),
            (("--like", "grad-cam"), {"like": "grad-cam"}),
        ]
    ):
        answer = tapetum(*common, *words, "--out", f"out{i}")
        assert (answer.status, answer.err) == (0, "")
        expected = tp.grad_cam(model, "cat.png", "dog", **keywords)
        saved = tp.open(place / f"out{i}" / "cat").value
        assert torch.allclose(saved.values, expected.values)
        assert saved.layer == expected.layer
        assert json.loads((place / f"out{i}" / "report.json").read_text())["images"][0]["layer"] == expected.layer


def test_explain_tries_methods_within_a_budget(tapetum: CommandLine, place: Path) -> None:
    words = ("explain", "cat.png", "--model", "net.py:build", "--methods", "best", "--budget", "3", "--no-runner-up")
    answer = tapetum(*words, "--json", "--out", "out")
    assert (answer.status, answer.err) == (0, "")
    (image,) = json.loads(answer.out)["images"]
    tried = {one["method"]: one["faithfulness"] for one in image["tried"]}
    finished = {name for name, value in tried.items() if value is not None}
    assert len(finished) >= 1
    assert {one["method"] for one in image["attributions"]} - {"random_attribution", "edge_attribution"} <= finished
    assert tapetum(*words[:-2], "3", "--no-evidence", "--out", "other").status == 2
