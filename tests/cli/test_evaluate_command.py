"""`tapetum evaluate`: the numbers of `tp.evaluate` in a table and in report.json, and lines for wrong use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from PIL import Image

import tapetum as tp

NET = ("--model", "net.py:build")


def test_the_table_and_the_report_have_the_numbers_of_evaluate(tapetum: CommandLine, place: Path) -> None:
    words = ["evaluate", "grad_cam,saliency", "cat.png", "white.png", "--metrics", "deletion, road, completeness"]
    settings = ["--set", "n_steps=4", "--set", "road.noise=0", "--set", "grad_cam.layer=features.2.3", "--target", "dog"]
    answer = tapetum(*words, *settings, *NET, "--out", "out")
    assert answer.status == 0, answer.err
    report = json.loads((place / "out" / "report.json").read_text())
    model = tp.load("net.py:build")
    images = model.preprocess("cat.png")
    maps = tp.grad_cam(model, images, "dog", layer="features.2.3")
    expected = tp.evaluate(model, images, maps, {"deletion": {"n_steps": 4}, "road": {"noise": 0}, "completeness": {}})
    cam = report["images"][0]["maps"][0]
    assert {one["metric"]: one["value"] for one in cam["metrics"]} == {
        name: float(result.value) for name, result in expected.items()
    }
    saved = tp.open(place / "out" / cam["result"])
    assert list(saved) == ["deletion", "road", "completeness"]
    assert report["parameters"]["road"] == {"noise": 0}
    assert f"{float(expected['road'].value):.4g}" in answer.out
    assert answer.out.count("better  grad_cam") == 2


def test_all_metrics_are_those_without_masks_and_a_refusal_is_a_line(tapetum: CommandLine, place: Path) -> None:
    few = [f"--set={name}" for name in ("n_samples=2", "n_steps=2", "n_sizes=2")]
    answer = tapetum("evaluate", "saliency", "cat.png", "--metrics", "all", *few, "--target", "output 1", *NET, "--out", "out")
    assert answer.status == 0, answer.err
    assert "average_drop of saliency: average_drop compares probabilities, and the target of this map has none" in answer.err
    assert "relevance_mass" not in answer.out
    assert "refused" not in answer.out


def test_masks_are_cut_and_resized_as_the_picture_is(tapetum: CommandLine, place: Path) -> None:
    height, width = tp.read_image(place / "cat.png").shape[-2:]
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 3 :] = 255
    (place / "masks").mkdir()
    Image.fromarray(mask).save(place / "masks" / "cat.bmp")
    words = ["evaluate", "saliency", "cat.png", "--metrics", "relevance_mass,pointing_game", "--target", "dog", *NET]
    for i, given in enumerate(("masks", "masks/cat.bmp")):
        answer = tapetum(*words, "--masks", given, "--out", f"out{i}")
        assert answer.status == 0, answer.err
        report = json.loads((place / f"out{i}" / "report.json").read_text())
        model = tp.load("net.py:build")
        where = model.denormalize(model.preprocess(Image.fromarray(mask))).mean(1) > 0.5
        images = model.preprocess("cat.png")
        wanted = float(tp.relevance_mass(tp.saliency(model, images, "dog"), where).value)
        assert report["images"][0]["maps"][0]["metrics"][0]["value"] == wanted
    Image.fromarray(mask[:-1]).save(place / "masks" / "cat.bmp")
    answer = tapetum(*words, "--masks", "masks", "--out", "out2")
    assert answer.status == 2
    assert f"its mask has {width} x {height - 1} px, the picture {width} x {height}" in answer.err
    Image.fromarray(mask).save(place / "masks" / "cat.png")
    assert "2 masks (cat.bmp, cat.png) for it in masks" in tapetum(*words, "--masks", "masks", "--out", "out3").err
    two = tapetum("evaluate", "saliency", "cat.png", "white.png", *words[3:], "--masks", "masks/cat.png", "--out", "out4")
    assert "--masks names one mask for 2 images" in two.err
    (place / "masks" / "cat.bmp").unlink()
    (place / "masks" / "cat.png").unlink()
    assert "no mask for it in masks" in tapetum(*words, "--masks", "masks", "--out", "out5").err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--metrics", "relevance_mass", "--masks", "none"], "no file or folder none: --masks takes pictures"),
        (["--metrics", "grad_cam"], "grad_cam is no metric; there are deletion"),
        (["--metrics", "relevance_mass"], "relevance_mass needs masks of the objects"),
        (["--metrics", "deletoin"], "no method 'deletoin'; close names: deletion"),
        (["--set", "noise=1"], "no parameter 'noise' of saliency, deletion, insertion"),
        (["--set", "n_steps"], "--set takes name=value or METHOD.name=value"),
        (["--set", "n_steps=0"], "n_steps must be from 1 to 10000"),
    ],
)
def test_wrong_use_is_a_line(tapetum: CommandLine, place: Path, words: list[str], line: str) -> None:
    answer = tapetum("evaluate", "saliency", "cat.png", *words, *NET, "--out", "out")
    assert answer.status == 2
    assert line in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not (place / "out").exists()
