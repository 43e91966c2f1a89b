"""What `render` keeps in results/ may be damaged, or somebody else's: the same command makes that picture again, bit by bit."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum as tp
from tapetum import store

RENDER = ("render", "--model", "net.py:build", "--size", "16", "--steps", "2", "--out", "out", "features.1.0:1,3")
KEPT = ("arrays.npz", "manifest.json")


def changed(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    return lambda saved: (saved / name).write_bytes(change((saved / name).read_bytes()))


def replaced(name: str, by: Callable[[Path], Any]) -> Callable[[Path], Any]:
    return lambda saved: ((saved / name).unlink(), by(saved / name))


def flips(name: str, count: int) -> Callable[[Path], Any]:
    def flip(data: bytes) -> bytes:
        chance, broken = random.Random(count), bytearray(data)
        for _ in range(count):
            broken[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        return bytes(broken)

    return changed(name, flip)


def crafted(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    """Sealed again by whoever made it."""

    def craft(saved: Path) -> None:
        manifest = json.loads((saved / "manifest.json").read_text())
        change(manifest["result"])
        manifest["seal"] = store.seal(manifest["result"], saved / "arrays.npz")
        (saved / "manifest.json").write_text(json.dumps(manifest))

    return craft


def of_another_shape(saved: Path) -> None:
    run = tp.open(saved)
    tp.save(run.value.pixels, saved / "other")
    for name in KEPT:
        (saved / "other" / name).replace(saved / name)
    (saved / "other").rmdir()


DAMAGES: dict[str, Callable[[Path], Any]] = {
    **{f"{name} {count} flipped": flips(name, count) for name in KEPT for count in (1, 40)},
    "empty": changed("arrays.npz", lambda _: b""),
    "cut": changed("arrays.npz", lambda data: data[: len(data) // 2]),
    **{f"{name} a pipe": replaced(name, os.mkfifo) for name in KEPT},
    "gone": replaced("manifest.json", lambda _: None),
    "deep": changed("manifest.json", lambda _: b"[" * 100_000),
    "another result": of_another_shape,
    "of other types": crafted(lambda tree: tree["value"].update(status={"$tuple": [3]})),
    "of two objectives": crafted(lambda tree: tree["value"].update(objectives={"$tuple": ["a", "b"]})),
    "with a layout": crafted(lambda tree: tree["value"].update(layout={"$tuple": [10**9, 10**9]})),
    "by nobody": crafted(lambda tree: tree["provenance"].update(parameters={"$dict": []})),
}


def test_a_damaged_result_is_made_again(tapetum: Any, place: Path) -> None:
    assert tapetum(*RENDER).status == 0
    saved = place / "out" / "results" / "features-1-0-1"
    whole = tp.open(saved).value
    picture = np.asarray(Image.open(place / "out" / "features-1-0-1.png"))
    for damage, change in DAMAGES.items():
        change(saved)
        answer = tapetum(*RENDER)
        assert (answer.status, answer.out.splitlines()[-1]) == (0, "out/sheet.png"), (damage, answer.err)
        assert "unexpected" not in answer.err, damage
        again = tp.open(saved).value
        assert torch.equal(again.pixels, whole.pixels), damage
        assert again.objectives == whole.objectives, damage
        assert np.array_equal(np.asarray(Image.open(place / "out" / "features-1-0-1.png")), picture), damage


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_result_at_all_stays_and_is_named(kind: str, tapetum: Any, place: Path) -> None:
    assert tapetum(*RENDER).status == 0
    file = place / "out" / "results" / "features-1-0-1" / "mine"
    file.mkdir() if kind == "folder" else os.mkfifo(file)
    answer = tapetum(*RENDER)
    assert answer.status == 2
    assert "unexpected" not in answer.err
    assert file.exists()


def test_a_picture_that_says_odd_things_of_itself_is_not_replaced(tapetum: Any, place: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    from tapetum.reports.provenance import PROVENANCE_KEY, read_picture, with_checksum

    assert tapetum(*RENDER).status == 0
    file = place / "out" / "features-1-0-1.png"
    said, levels = read_picture(file)
    for field, value in (("parameters", [1]), ("versions", "none"), ("subject", 3), ("settings", [])):
        info = PngInfo()
        info.add_text(PROVENANCE_KEY, with_checksum({**said, field: value}))
        Image.fromarray(levels).save(file, pnginfo=info)
        answer = tapetum(*RENDER)
        assert "unexpected" not in answer.err
        if field != "settings":  # an empty list says as much as no settings
            assert answer.status == 2
            assert "holds another picture" in answer.err
