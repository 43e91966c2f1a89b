"""Weights from others: no code runs, memory stays near the file's size, and whatever is odd is one line that names it."""

from __future__ import annotations

import json
import os
import random
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import tapetum as tp
from tapetum.models.zoo.settings import extra_rows
from tapetum.models.zoo.weights import load_weights
from tapetum.types import ModelError


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))


GOOD = {name: tensor + 1 for name, tensor in network().state_dict().items()}
WEIGHT = GOOD["0.weight"]


def quietly(make: Callable[[], Any]) -> Any:
    """torch warns of what goes out of use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def nested(times: int, many: int) -> Any:
    """Lists in lists, a few bytes each as a pickle."""
    content: Any = GOOD
    for _ in range(times):
        content = [content] * many
    return content


def cyclic() -> dict[str, Any]:
    table: dict[str, Any] = dict(GOOD)
    table["self"] = [table] * 1000
    return table


TAKEN: dict[str, Any] = {
    "whole numbers as names": {**GOOD, 7: torch.zeros(1)},
    "expanded": {**GOOD, "0.weight": torch.ones(1).expand(4, 3, 3, 3), "0.bias": torch.zeros(1).as_strided((4,), (0,))},
    "a terabyte beside it": {**GOOD, "more": torch.zeros(1).expand(1 << 40)},
    "ragged beside it": {**GOOD, "more": quietly(lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]))},
    "itself inside": cyclic(),
    "numpy beside it": {**GOOD, "more": np.zeros(3)},
}
REFUSED: dict[str, tuple[Any, str]] = {
    "numbers as names": ({0: torch.zeros(2), 1: torch.ones(3)}, "holds no table of tensors"),
    "a text": ("hello", "holds no table of tensors"),
    "deep": (nested(200, 1), "holds no table of tensors"),
    "lists of lists": (nested(8, 2000), "holds no table of tensors"),
    "sparse": ({**GOOD, "0.weight": WEIGHT.to_sparse()}, r"0.weight: sparse_coo, not a plain tensor"),
    "quantised": (
        {**GOOD, "0.weight": quietly(lambda: torch.quantize_per_tensor(WEIGHT, 0.1, 0, torch.qint8))},
        r"0.weight: quantised, not a plain",
    ),
    "meta": ({**GOOD, "0.weight": WEIGHT.to("meta")}, r"0.weight: without values, not a plain"),
    "complex": ({**GOOD, "0.weight": WEIGHT.to(torch.complex64)}, r"0.weight: complex64, not float32"),
    "whole": ({**GOOD, "0.weight": WEIGHT.to(torch.int8)}, r"0.weight: int8, not float32"),
    "ragged": (
        {**GOOD, "0.weight": quietly(lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]))},
        r"1 tensors are missing",
    ),
    "colours": ({**GOOD, "0.\x1b[31mred": torch.zeros(1)}, r"1 are unknown \(0\.\\x1b\[31mred, \.\.\.\)"),
}


def refused(file: Path, words: str) -> None:
    module = network()
    with pytest.raises(ModelError, match=words) as caught:
        load_weights(module, file)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert all(torch.equal(one, network().state_dict()[name]) for name, one in module.state_dict().items())


@pytest.mark.parametrize("kind", TAKEN)
def test_what_is_odd_beside_the_weights_costs_nothing(kind: str, tmp_path: Path) -> None:
    module = network()
    torch.save(TAKEN[kind], tmp_path / "w.pth")
    load_weights(module, tmp_path / "w.pth")
    assert not torch.equal(module.state_dict()["0.weight"], network().state_dict()["0.weight"])


@pytest.mark.parametrize("kind", REFUSED)
def test_odd_weights_are_refused_by_their_names_and_nothing_is_loaded(kind: str, tmp_path: Path) -> None:
    content, words = REFUSED[kind]
    torch.save(content, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", words)


def repacked(file: Path, change: Callable[[str, bytes], bytes | None], method: int = zipfile.ZIP_STORED) -> None:
    """The archive with other members."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            changed = change(name, data)
            if changed is not None:
                archive.writestr(name, changed)


def encrypted(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(data)


EVIL = b"cos\nsystem\n(S'touch run'\ntR."
ARCHIVES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda file: file.write_bytes(b""), "no readable weights file"),
    "text": (lambda file: file.write_bytes(b"hello" * 100), "no readable weights file|holds code"),
    "code": (lambda file: file.write_bytes(EVIL), "holds code"),
    "code inside": (lambda file: repacked(file, lambda name, data: EVIL if name.endswith("data.pkl") else data), "holds code"),
    "encrypted": (encrypted, "is encrypted: save it with torch.save"),
    "without its numbers": (
        lambda file: repacked(file, lambda name, data: None if name.endswith("data/0") else data),
        "no readable weights file",
    ),
    "short": (
        lambda file: repacked(file, lambda name, data: data[:8] if name.endswith("data/0") else data),
        "no readable weights file",
    ),
    "bomb": (
        lambda file: repacked(
            file, lambda name, data: bytes(20_000_000) if name.endswith("data/0") else data, zipfile.ZIP_DEFLATED
        ),
        "packed more tightly",
    ),
    "deep": (
        lambda file: repacked(
            file, lambda name, data: b"\x80\x02" + b"]" * 9000 + b"a" * 8999 + b"." if name.endswith("data.pkl") else data
        ),
        "holds no table of tensors",
    ),
    "folder": (lambda file: (file.unlink(), file.mkdir()), "no weights file"),
    "pipe": (lambda file: (file.unlink(), os.mkfifo(file)), "no weights file"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_that_torch_has_not_written_are_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    change, words = ARCHIVES[kind]
    torch.save(GOOD, tmp_path / "w.pth")
    change(tmp_path / "w.pth")
    refused(tmp_path / "w.pth", words)
    assert not (tmp_path / "run").exists()


def safetensors(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


LYING = {
    "shape": safetensors({"0.weight": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 16]}}, bytes(16)),
    "nothing": safetensors({"0.weight": {"dtype": "F32", "shape": [0, 1 << 62], "data_offsets": [0, 0]}}),
    "over each other": safetensors(
        {"0.weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "b": {"dtype": "F32", "shape": [4],
        "data_offsets": [0, 16]}}, bytes(16)
    ),
    "deep": safetensors(b"[" * 100_000),
    "long": struct.pack("<Q", 1 << 62),
    "no table": safetensors([1]),
}  # fmt: skip


@pytest.mark.parametrize("kind", LYING)
def test_safetensors_with_lying_headers_are_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(LYING[kind])
    refused(tmp_path / "w.safetensors", "no readable weights file|does not fit")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_any_flipped_byte_or_cut_gives_weights_or_a_refusal(suffix: str, tmp_path: Path) -> None:
    file, chance = tmp_path / f"w.{suffix}", random.Random(0)
    if suffix == "pth":
        torch.save(GOOD, file)
    else:
        __import__("safetensors.torch").torch.save_file(GOOD, file)
    whole = file.read_bytes()
    for i in range(100):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(data if i % 5 else data[: chance.randrange(len(data))])
        try:
            load_weights(network(), file)
        except ModelError as error:
            assert str(error).isprintable()


def test_nan_in_weights_is_said(tmp_path: Path) -> None:
    torch.save({**GOOD, "0.bias": torch.tensor([1.0, torch.nan, 2.0, torch.inf])}, tmp_path / "w.pth")
    (note,) = load_weights(network(), tmp_path / "w.pth")
    assert note == "w.pth holds NaN in 1 of its tensors (0.bias): what reads them is NaN too"


def test_further_inputs_are_read_like_arrays_from_others(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6, dtype=">f4").reshape(2, 3))
    assert torch.equal(extra_rows(str(tmp_path / "a.npy")), torch.arange(6.0).reshape(2, 3))
    np.save(tmp_path / "texts.npy", np.array(["a"]))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    for name, words in (("texts", "holds texts"), ("objects", "is damaged"), ("pipe", "a pipe"), ("cut", "cut off")):
        with pytest.raises(ModelError, match=words):
            extra_rows(str(tmp_path / f"{name}.npy"))
    with pytest.raises(ModelError, match="too large"):
        extra_rows("1," + "9" * 30)


# --- ONNX


def onnx_network(path: Path, weight: Any, *, inputs: bool = True) -> Path:
    nodes = [helper.make_node("GlobalAveragePool", ["y"], ["z"]), helper.make_node("Flatten", ["z"], ["o"])]
    first = helper.make_node("Conv", ["x", "w"], ["y"])
    constant = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.zeros((1, 4, 3, 3), "f4")))
    images = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])] if inputs else []
    answer = helper.make_tensor_value_info("o", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph([first if inputs else constant, *nodes], "g", images, [answer], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path.write_bytes(model.SerializeToString())
    return path


def plain() -> Any:
    return numpy_helper.from_array(WEIGHT.numpy(), "w")


def test_damaged_onnx_files_and_links_out_of_their_folder_are_one_line(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "secret").write_bytes(bytes(432))
    folder = tmp_path / "net"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    file, chance = onnx_network(folder / "w.onnx", plain()), random.Random(0)
    tp.wrap(file, size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
    whole = file.read_bytes()
    for i in range(60):
        data = bytearray(whole)
        data[chance.randrange(len(data) if i % 2 else 300)] ^= 1 << chance.randrange(8)
        file.write_bytes(data if i % 5 else data[: chance.randrange(len(data))])
        try:
            tp.wrap(file, size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
        except tp.TapetumError as error:
            assert str(error).isprintable()
    for place in ("../secret", str(tmp_path / "secret"), "pipe", "none"):
        weight = onnx.TensorProto()
        weight.CopyFrom(plain())
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        entry = weight.external_data.add()
        entry.key, entry.value = "location", place
        with pytest.raises(ModelError, match="onnxruntime cannot read the network"):
            tp.wrap(onnx_network(file, weight))
    with pytest.raises(ModelError, match="takes no images"):
        tp.wrap(onnx_network(file, plain(), inputs=False))
    assert "EP Error" not in capfd.readouterr().out
