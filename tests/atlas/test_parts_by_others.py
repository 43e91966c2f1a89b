"""Finished batches of pictures on the disk: what is damaged or somebody else's is made again, to the same bits."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zoo import vision_model

from tapetum.atlas.painting import Canvases, Painted, paint, read
from tapetum.atlas.units import units_job
from tapetum.keeping.keyed import Kept, Key
from tapetum.types import DamagedError

NAMES = ("pixels", "scores", "status")


@pytest.fixture(scope="module")
def job() -> Canvases:
    model = vision_model("residual")
    whole = units_job(model, "second", n_steps=2)
    return Canvases(model, whole.objectives[:4], whole.recipe, whole.size, batch=2)


def same(a: Painted, b: Painted) -> bool:
    return np.array_equal(a.pixels, b.pixels) and (a.scores, a.status) == (b.scores, b.status)


def put(**changes: Any) -> Callable[[Path], Any]:
    """The file with other arrays, or (None) without them."""

    def change(file: Path) -> None:
        with np.load(file) as stored:
            arrays = {name: stored[name] for name in NAMES}
        changed = {name: one(arrays[name]) if callable(one) else one for name, one in changes.items()}
        arrays = {name: one for name, one in {**arrays, **changed}.items() if one is not None}
        np.savez(file, allow_pickle=True, **arrays)

    return change


def replaced(by: Callable[[Path], Any]) -> Callable[[Path], Any]:
    def change(file: Path) -> None:
        file.unlink()
        by(file)

    return change


WAYS: dict[str, Callable[[Path], Any]] = {
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:300]),
    "folder": replaced(lambda file: (file.mkdir(), (file / "x").write_text("x"))),
    "pipe": replaced(os.mkfifo),
    "link to nothing": replaced(lambda file: file.symlink_to("nothing")),
    "smaller": put(pixels=lambda pixels: pixels[:, ::2]),
    "floats": put(pixels=lambda pixels: pixels / 255),
    "grey": put(pixels=lambda pixels: pixels[..., 0]),
    "fewer": put(scores=lambda scores: scores[:1]),
    "texts": put(scores=np.array(["a", "b"])),
    "another status": put(status=np.array(["ok", "fine"])),
    "objects": put(status=np.array([{}, {}], dtype=object)),
    "without": put(status=None),
    "more": put(more=np.zeros(3)),
}


def kept(folder: Path) -> Kept:
    return Kept(folder / "parts", Key({"of": "these pictures"}))


def test_parts_that_are_damaged_are_made_again(job: Canvases, tmp_path: Path) -> None:
    whole = paint(job, kept(tmp_path), workers=1)
    file = tmp_path / "parts" / "000001.npz"
    for way, change in WAYS.items():
        change(file)
        assert kept(tmp_path).read(file.name, lambda path: read(path, 2, job.size)) is None, way
        assert same(paint(job, kept(tmp_path), workers=1), whole), way
        assert read(file, 2, job.size) is not None


def test_any_flipped_byte_of_a_part_is_noticed_or_changes_nothing(job: Canvases, tmp_path: Path) -> None:
    paint(job, kept(tmp_path), workers=1)
    file, chance = tmp_path / "parts" / "000001.npz", random.Random(0)
    data, whole = file.read_bytes(), read(file, 2, job.size)
    assert whole is not None
    for _ in range(150):
        broken = bytearray(data)
        broken[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(broken)
        with suppress(DamagedError):
            assert same(read(file, 2, job.size), whole)


def test_a_link_or_a_pipe_in_the_place_of_the_parts_is_not_followed(job: Canvases, tmp_path: Path) -> None:
    whole, elsewhere = paint(job, kept(tmp_path / "a"), workers=1), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    for kind in ("link", "pipe"):
        folder = tmp_path / kind
        folder.mkdir()
        if kind == "link":
            (folder / "parts").symlink_to(elsewhere)
        else:
            os.mkfifo(folder / "parts")
        assert same(paint(job, kept(folder), workers=1), whole)
    assert [path.name for path in elsewhere.iterdir()] == ["mine"]
