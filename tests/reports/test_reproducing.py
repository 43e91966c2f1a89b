"""A saved picture says all that is needed to make it again; what was changed, or cannot be repeated, is refused."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from zoo import pictures, shared, vision_model

import tapetum as tp
from tapetum.data.images import write_png
from tapetum.figures import picture
from tapetum.figures.tiles import finished
from tapetum.reports.provenance import PROVENANCE_KEY, carried, content_sha256, read_picture, with_checksum, write_picture
from tapetum.types import TapetumError

UNITS = ["three:1", "three:2"]


def made(file: Path, row: int = 1, **keywords: Any) -> tp.Run:
    """A rendering of two units, one of which is saved as if it had been made alone."""
    run = tp.run("visualize", shared("reused"), UNITS, size=16, n_steps=2, **keywords)
    write_picture(file, finished(run.value, row), replace(run.provenance, subject=(UNITS[row],)), row=0)
    return run


def test_one_picture_of_a_batch_is_made_again_alone(tmp_path: Path) -> None:
    made(tmp_path / "a.png", seed=3)
    again = tp.reproduce(tmp_path / "a.png", tmp_path / "b.png", model=shared("reused"))
    assert again.same
    assert str(again) == "the same pixels"
    assert np.array_equal(read_picture(tmp_path / "a.png")[1], read_picture(tmp_path / "b.png")[1])
    assert carried(tmp_path / "b.png")["subject"] == ["three:2"]  # type: ignore[index]


def test_parameters_come_back_from_text(tmp_path: Path) -> None:
    run = tp.run("visualize", shared("reused"), UNITS[:1], size="16x24", n_steps=2, negative=True, preset="plain")
    write_picture(tmp_path / "a.png", finished(run.value, 0), run.provenance, row=0)
    again = tp.reproduce(tmp_path / "a.png", model=shared("reused"))
    assert again.same
    assert again.pixels.shape == (3, 16, 24)


def test_a_map_is_made_again_from_its_photograph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = shared("reused")
    write_png("cat.png", model.denormalize(pictures(1))[0])
    run = tp.run("smooth_grad", model, "cat.png", target=tp.contrast(1, 2), n_samples=3, seed=5)
    assert run.provenance.subject == ("cat.png",)
    pixels = model.denormalize(model.as_images("cat.png"))[0]
    write_picture(Path("map.png"), picture(run.value, pixels), run.provenance, row=0)
    assert tp.reproduce("map.png", model=model).same
    Path("cat.png").rename("moved.png")
    with pytest.raises(TapetumError, match=r"cat\.png, which is not here .* --image FILE"):
        tp.reproduce("map.png", model=model)
    assert tp.reproduce("map.png", model=model, images="moved.png").same
    write_png("cat.png", model.denormalize(pictures(2))[1])
    with pytest.raises(TapetumError, match="not the file that the picture was made from"):
        tp.reproduce("map.png", model=model)


def test_other_weights_give_other_pixels_and_are_named(tmp_path: Path) -> None:
    made(tmp_path / "a.png")
    again = tp.reproduce(tmp_path / "a.png", model=_reinitialised())
    assert not again.same
    assert "of them differ, by up to" in again.words
    assert "the weights are others" in again.words


def _reinitialised() -> tp.VisionModel:
    model = vision_model("reused")
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.mul_(-1.5)
    return model


def rewritten(file: Path, change: Any, *, sign: bool) -> None:
    """The same PNG with other provenance."""
    content, levels = read_picture(file)
    change(content)
    text = with_checksum(content) if sign else json.dumps(content)
    info = PngInfo()
    info.add_text(PROVENANCE_KEY, text)
    Image.fromarray(levels).save(file, pnginfo=info)


def test_provenance_or_pixels_that_were_changed_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    made(file)
    rewritten(file, lambda content: content["parameters"].update(seed=9), sign=False)
    with pytest.raises(TapetumError, match="its provenance was changed"):
        tp.reproduce(file, model=shared("reused"))
    assert carried(file) is None
    made(file)
    content, levels = read_picture(file)
    info = PngInfo()
    info.add_text(PROVENANCE_KEY, json.dumps(content))
    Image.fromarray(255 - levels).save(file, pnginfo=info)
    with pytest.raises(TapetumError, match="its pixels were changed"):
        tp.reproduce(file, model=shared("reused"))


REFUSED = {
    "an unknown method": (lambda c: c.update(method="visualise"), "no method 'visualise'; close names: visualize"),
    "an unknown parameter": (lambda c: c["parameters"].update(sise=3), "no parameter 'sise'"),
    "code of somebody's own": (lambda c: c.update(model="evil.py:build"), "--model evil.py:build"),
    "an unknown model": (lambda c: c.update(model="resnet51"), "no model 'resnet51'"),
    "what no text holds": (lambda c: c.update(lost=["parametrization"]), "no text could hold .* parametrization"),
    "half of it": (lambda c: c.pop("subject"), "not complete"),
    "another row": (lambda c: c.update(row=7), "made 1 pictures, none of them is number 7"),
    "a figure": (lambda c: c.update(pictures=["a.png", "b.png"]), "a figure of other pictures .a.png, b.png"),
}


@pytest.mark.parametrize("change", REFUSED)
def test_what_cannot_be_made_again_is_refused_with_the_reason(change: str, tmp_path: Path) -> None:
    made(tmp_path / "a.png")
    alter, words = REFUSED[change]
    rewritten(tmp_path / "a.png", alter, sign=True)
    model = shared("reused") if change in ("an unknown parameter", "another row") else None
    with pytest.raises(TapetumError, match=words):
        tp.reproduce(tmp_path / "a.png", model=model)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    for file, words in (("text.png", "no PNG file"), ("plain.png", "carries no provenance"), ("none.png", "no such file")):
        with pytest.raises(TapetumError, match=words):
            tp.reproduce(tmp_path / file)
    with pytest.raises(TapetumError, match="a folder, not a PNG file; name a file inside it"):
        tp.reproduce(tmp_path)
    made(tmp_path / "a.png")
    with pytest.raises(TapetumError, match="no such folder"):
        tp.reproduce(tmp_path / "a.png", tmp_path / "nowhere" / "b.png", model=shared("reused"))
    for out in ("plain.png", "a.png"):
        with pytest.raises(TapetumError, match="is there already"):
            tp.reproduce(tmp_path / "a.png", tmp_path / out, model=shared("reused"))


def test_objects_without_a_text_are_marked_as_lost(tmp_path: Path) -> None:
    model = shared("reused")
    run = tp.run("visualize", model, tp.Unit("three", 1), size=16, n_steps=1, parametrization=tp.parametrizations.pixel(sd=0.5))
    assert run.provenance.lost == ("parametrization",)
    assert run.provenance.subject == ("three:1",)
    assert tp.run("saliency", model, pictures(1), target=1).provenance.lost == ("images",)
    chosen = tp.run("saliency", model, pictures(1), target=lambda output: output[:, 0]).provenance
    assert chosen.lost == ("target", "images")


def test_the_checksum_does_not_depend_on_the_order_of_fields() -> None:
    run = tp.run("saliency", shared("reused"), pictures(1), target=1)
    content = json.loads(with_checksum(asdict(run.provenance)))
    assert content["sha256"] == content_sha256(dict(reversed(content.items())))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 900 + "1" + "}" * 900, "1" * 5000, "\ud800"], ids=["deep", "tables", "digits", "half"]
)
def test_provenance_that_is_no_json_of_a_usual_depth_is_one_line(text: str, tmp_path: Path) -> None:
    info = PngInfo()
    info.add_itxt(PROVENANCE_KEY, text.encode("utf-8", "replace").decode())
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png", pnginfo=info)
    with pytest.raises(TapetumError, match="its provenance is damaged"):
        read_picture(tmp_path / "a.png")
    assert carried(tmp_path / "a.png") is None


def test_pipes_devices_and_bombs_carry_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    Image.new("1", (7000, 7000)).save(tmp_path / "bomb.png")
    with (tmp_path / "hole.png").open("wb") as file:
        file.truncate(1 << 40)
    for name, words in (("pipe.png", "a pipe"), ("bomb.png", "more than 32 million"), ("hole.png", "larger than 200 MB")):
        with pytest.raises(TapetumError, match=words):
            read_picture(tmp_path / name)
        assert carried(tmp_path / name) is None
    with pytest.raises(TapetumError, match="a device"):
        read_picture("/dev/zero")
