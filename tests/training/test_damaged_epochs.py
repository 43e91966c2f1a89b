"""A training's newest epoch may be damaged, or somebody else's: the one before goes on, to the same bits: a note says so."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from stripes import settings, stripes
from test_training import same

import tapetum as tp
from tapetum.training import checkpoints, train
from tapetum.types import History


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[History, Path]:
    folder = tmp_path_factory.mktemp("whole") / "net"
    return train(stripes(), **settings(), out=folder), folder


def again(whole: tuple[History, Path], folder: Path, remade: int, words: str) -> None:
    """The same command, which ends in the same bits and says what it met; the time after it meets nothing."""
    history = train(stripes(), **settings(), out=folder)
    assert same(history, whole[0])
    said = [note for note in history.notes if note.endswith(words)]
    assert len(said) == remade
    assert all(note.isprintable() for note in said)
    assert train(stripes(), **settings(), out=folder).notes == whole[0].notes


def resealed(file: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], Any]) -> None:
    """The epoch as somebody else would write it."""
    with safe_open(file, framework="pt") as stored:
        about = json.loads(stored.metadata()["tapetum"])
        tensors = {name: stored.get_tensor(name).clone() for name in stored.keys()}  # noqa: SIM118 (not a dict)
    changed = change(about, tensors)
    text = json.dumps(about if changed is None else changed)
    save_file(tensors, file, {"tapetum": text, "sha256": checkpoints._digest(tensors, text)})


def of_first(tensors: dict[str, torch.Tensor], part: str) -> str:
    return next(name for name in tensors if name.startswith(part))


def put(part: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], Any]:
    def changed(about: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        name = of_first(tensors, part)
        tensors[name] = change(tensors[name])

    return lambda file: resealed(file, changed)


def without(part: str) -> Callable[[Path], Any]:
    return lambda file: resealed(file, lambda _, tensors: tensors.__delitem__(of_first(tensors, part)))


def replaced(by: Callable[[Path], Any]) -> Callable[[Path], Any]:
    return lambda file: (file.unlink(), by(file))


def flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)


WAYS: dict[str, Callable[[Path], Any]] = {
    "empty": lambda file: file.write_bytes(b""),
    "half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "flipped": flipped,
    "folder": replaced(lambda file: (file.mkdir(), (file / "x").write_text("x"))),
    "pipe": replaced(os.mkfifo),
    "the epoch before": lambda file: shutil.copy(file.with_name("epoch_002.safetensors"), file),
    "no word": lambda file: save_file({"a": torch.zeros(2)}, file),
    "deep": lambda file: save_file({}, file, {"tapetum": "[" * 100_000, "sha256": checkpoints._digest({}, "[" * 100_000)}),
    "shape": put("network.", lambda one: one[:1].clone()),
    "dtype": put("network.", lambda one: one.double()),
    "weight missing": without("network."),
    "snapshot missing": without("snapshot."),
    "moments of another shape": put("optimizer.0.exp_avg", lambda one: torch.zeros(1)),
    "moments of nothing": put("optimizer.0.exp_avg", lambda one: one * torch.nan),
    "another weight": lambda file: resealed(file, lambda _, tensors: tensors.update({"optimizer.99.step": torch.zeros(())})),
    "list": lambda file: resealed(file, lambda about, _: [about]),
    "kept": lambda file: resealed(file, lambda about, _: about.update(kept="all")),
    "kept later": lambda file: resealed(file, lambda about, _: about.update(kept=9)),
    "no settings": lambda file: resealed(file, lambda about, _: about.update(settings=[])),
    "epochs of texts": lambda file: resealed(file, lambda about, _: about.update(epochs=["a", "b", "c"])),
    "epochs of other fields": lambda file: resealed(file, lambda about, _: about["epochs"][0].update(more=1)),
    "epochs of other types": lambda file: resealed(file, lambda about, _: about["epochs"][0].update(train_loss="low")),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_the_epoch_before_a_damaged_one_goes_on(way: str, whole: tuple[History, Path], tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(whole[1], folder)
    WAYS[way](folder / "epoch_003.safetensors")
    again(whole, folder, 1, "the epoch before it went on")


def test_where_all_are_damaged_the_training_begins_again(whole: tuple[History, Path], tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(whole[1], folder)
    for name in ("epoch_002.safetensors", "epoch_003.safetensors"):
        (folder / name).write_bytes(b"half")
    (folder / "history.json").unlink()
    (folder / "history.json").mkdir()
    again(whole, folder, 2, "the training began again")


def test_any_flipped_byte_of_an_epoch_is_noticed(whole: tuple[History, Path], tmp_path: Path) -> None:
    file, chance = tmp_path / "epoch_003.safetensors", random.Random(0)
    data = (whole[1] / "epoch_003.safetensors").read_bytes()
    for _ in range(100):
        broken = bytearray(data)
        broken[chance.choice((chance.randrange(2000), chance.randrange(len(data))))] ^= 1 << chance.randrange(8)
        file.write_bytes(broken)
        with pytest.raises(tp.TapetumError, match="is damaged"):
            checkpoints._read(file)


def test_what_another_training_says_of_itself_is_one_line(whole: tuple[History, Path], tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(whole[1], folder)
    colours = "\x1b[31m" * 1000
    resealed(folder / "epoch_003.safetensors", lambda about, _: about["settings"].update(seed=colours))
    with pytest.raises(tp.TapetumError, match="holds another training \\(seed was") as caught:
        train(stripes(), **settings(), out=folder)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
