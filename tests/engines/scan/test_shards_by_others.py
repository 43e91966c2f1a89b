"""A shard may be sealed and still be nonsense, a plan anything: the scan goes on, with the bits of one that nobody touched."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet
import pytest
import torch
from crashing import BATCH, SHARD, network, noise

import tapetum as tp
from tapetum.engines.scan import FolderLedger, ParquetLedger, ShardResult, ledger, parquet
from tapetum.keeping.whole import write_whole
from tapetum.store import _packed

PICTURES = 24


def trackers() -> dict[str, list[Any]]:
    return {"0": [tp.Spectrum(k=3), tp.Moments()], "2": [tp.TopK(k=2), tp.Scores(), tp.CoActivation(), tp.Positions()]}


def scanned(folder: Path, out: Any, **settings: Any) -> Any:
    return tp.scan(network(), folder, trackers(), out=out, batch=BATCH, shard=SHARD, **settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pictures")
    noise(place, PICTURES)
    return place


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    place = tmp_path_factory.mktemp("whole") / "scan"
    return scanned(folder, place), place


def bits(result: Any) -> Any:
    arrays: dict[str, Any] = {}
    return json.dumps(_packed(dict(result.results), arrays)), {name: array.tobytes() for name, array in arrays.items()}


def again(folder: Path, whole: tuple[Any, Path], out: Path, remade: int = 1) -> list[str]:
    """The notes of the same scan, which has the same bits, and none the time after."""
    result = scanned(folder, out)
    assert bits(result) == bits(whole[0])
    assert len(result.notes) == remade
    assert all(note.endswith("made again") and "\n" not in note for note in result.notes)
    assert scanned(folder, out).notes == ()
    return list(result.notes)


# --- states that no pictures gave


def put(layer: str, tracker: int, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[ShardResult], Any]:
    def changed(result: ShardResult) -> ShardResult:
        states = {one: [dict(state) for state in many] for one, many in result.states.items()}
        states[layer][tracker][name] = change(states[layer][tracker][name])
        return replace(result, states=states)

    return changed


def told(**fields: Any) -> Callable[[ShardResult], Any]:
    """As it is where nothing checks types, as outside of tests."""

    def changed(result: ShardResult) -> ShardResult:
        other = copy.copy(result)
        for name, value in fields.items():
            object.__setattr__(other, name, value)
        return other

    return changed


def without(result: ShardResult, layer: str, tracker: int | None = None) -> ShardResult:
    states = {one: list(many) for one, many in result.states.items()}
    if tracker is None:
        states["elsewhere"] = states.pop(layer)
    else:
        states[layer].pop(tracker)
    return replace(result, states=states)


NONSENSE: dict[str, Callable[[ShardResult], Any]] = {
    "shape": put("2", 0, "key", lambda key: key[:2]),
    "row too many": put("0", 0, "counts", lambda counts: torch.cat([counts, counts[:1]])),
    "broadcast bomb": put("0", 1, "sum", lambda one: torch.zeros(400_000, 1, 32, dtype=one.dtype)),
    "more columns": put("2", 1, "scores", lambda scores: torch.cat([scores, scores], 1)),
    "fewer rows": put("2", 1, "scores", lambda scores: scores[1:]),
    "dtype": put("2", 0, "key", lambda key: key.double()),
    "float16": put("0", 0, "low", lambda low: low.half()),
    "one number": put("0", 1, "n", lambda n: torch.tensor(3)),
    "nan": put("0", 0, "low", lambda low: low * torch.nan),
    "samples of others": put("2", 1, "samples", lambda samples: samples + 10**9),
    "samples below none": put("2", 1, "samples", lambda samples: samples - 10**9),
    "keys of others": put("2", 0, "key", lambda key: key - 10**6),
    "pictures": put("0", 1, "n", lambda n: n + 10**12),
    "no pictures": put("0", 1, "n", lambda n: -n),
    "roots of less than zero": put("0", 1, "square", lambda one: one * 0 - 1),
    "kept": put("0", 0, "kept", lambda kept: ~kept),
    "levels": put("2", 2, "levels", lambda levels: torch.cat([levels, levels + 10**6])),
    "table of another name": lambda result: (result.states["2"][0].update(more=torch.zeros(3)), result)[1],
    "another layer": lambda result: without(result, "2"),
    "tracker missing": lambda result: without(result, "2", 1),
    "another number": told(shard=2),
    "skipped elsewhere": told(skipped={3: "x"}),
    "skipped of no words": told(skipped={8: 3}),
    "seconds": told(seconds={"network": "long"}),
    "endless": told(seconds={"network": float("inf")}),
    "processor": told(processor=["x"]),
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_sealed_nonsense_is_made_again(kind: str, folder: Path, whole: tuple[Any, Path], tmp_path: Path) -> None:
    out = tmp_path / "scan"
    shutil.copytree(whole[1], out)
    keeper = FolderLedger(out)
    keeper.key = whole[0].key
    write_whole(out / "shards" / "000001.npz", ledger.packed(NONSENSE[kind](keeper.read(1)), keeper.key))
    (note,) = again(folder, whole, out)
    assert "shard 1 is damaged" in note or "000001.npz is damaged" in note


# --- files that are no shards


def sealed(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest()


def about(key: str, **changes: Any) -> np.ndarray:
    told = {"key": key, "shard": 1, "skipped": [], "seconds": {}, "processor": ""}
    return np.frombuffer(json.dumps({**told, **changes}).encode(), np.uint8)


def no_shards(key: str) -> list[bytes]:
    plain = {"about": about(key)}
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("0|0|n.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (20_000_000,)})
        file.write(bytes(20_000_000))
    return [
        b"",
        b"x" * 31,
        sealed({}),
        sealed({"about": np.frombuffer(b"[" * 100_000, np.uint8)}),
        sealed({"about": about(key, shard=10**30)}),
        sealed({"about": about(key, skipped=[[[1], "x"]])}),
        sealed({"about": about(key, more=1)}),
        sealed({"about": np.array([{"a": 1}], dtype=object)}),
        sealed({**plain, "no number": np.zeros(3)}),
        sealed({**plain, "0|1000000000|n": np.zeros(3)}),
        sealed({**plain, "0|-1|n": np.zeros(3)}),
        sealed({**plain, "0|\u0663|n": np.zeros(3)}),
        sealed({**plain, "0|0|n": np.zeros(3, ">f4")}),
        sealed({**plain, "0|0|n": np.zeros(3, "U4")}),
        bomb.getvalue() + hashlib.sha256(bomb.getvalue()).digest(),
    ]


def test_what_is_no_shard_is_refused(whole: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapetum.files.arrays.ROOM", 10_000_000)
    for data in no_shards(whole[0].key):
        with pytest.raises(tp.TapetumError, match=r"^it is damaged"):
            ledger.unpacked(data, "it", whole[0].key)


def test_folders_pipes_and_links_in_the_place_of_shards_and_plans_cost_nothing(
    folder: Path, whole: tuple[Any, Path], tmp_path: Path
) -> None:
    out = tmp_path / "scan"
    shutil.copytree(whole[1], out)
    shards = [out / "shards" / f"00000{i}.npz" for i in range(3)]
    for file in shards:
        file.unlink()
    shards[0].mkdir()
    (shards[0] / "x").write_text("x")
    os.mkfifo(shards[1])
    shards[2].symlink_to("nothing")
    (out / "plan.json").unlink()
    (out / "plan.json").mkdir()
    (out / "shards" / f".tapetum-{'0' * 32}").mkdir()
    again(folder, whole, out, remade=3)
    (out / "plan.json").unlink()
    os.mkfifo(out / "plan.json")
    again(folder, whole, out, remade=0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        "[]",
        '{"key": 3}',
        '{"key": [1], "facts": 3}',
        '{"facts": {"model": "' + "x" * 100_000 + '"}}',
        '{"key": "\\u001b[31m", "facts": {"model": ["\\u001b[31m"]}}',
    ],
    ids=["empty", "deep", "list", "no facts", "no table", "long", "colours"],
)
def test_a_plan_of_other_types_is_none_or_another_scan_in_a_line(
    text: str, folder: Path, whole: tuple[Any, Path], tmp_path: Path
) -> None:
    out = tmp_path / "scan"
    shutil.copytree(whole[1], out)
    (out / "plan.json").write_text(text)
    try:
        again(folder, whole, out, remade=0)
    except tp.TapetumError as error:
        assert "holds another scan" in str(error)
        assert str(error).isprintable()
        assert len(str(error)) < 500


def test_any_flipped_byte_of_a_plan_and_a_shard_goes_on_or_is_another_scan(
    folder: Path, whole: tuple[Any, Path], tmp_path: Path
) -> None:
    keeper, chance = FolderLedger(tmp_path / "scan"), random.Random(0)
    shutil.copytree(whole[1], keeper.folder)
    keeper.key = whole[0].key
    plan, shard = keeper.folder / "plan.json", keeper.folder / "shards" / "000001.npz"
    for file in (plan, shard):
        data = file.read_bytes()
        for i in range(100):
            broken = bytearray(data)
            broken[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            file.write_bytes(broken if i % 5 else broken[: chance.randrange(len(data))])
            keeper._earlier()  # the plan, or none
            with pytest.raises(tp.TapetumError) if file == shard else contextlib.nullcontext():
                keeper.read(1)
        file.write_bytes(data)


# --- Parquet


def rows_of(data: bytes) -> list[dict[str, Any]]:
    return pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()


def parquet_of(rows: list[dict[str, Any]], schema: Any = None, **settings: Any) -> bytes:
    digest = parquet._digest([tuple(row.get(name) for name in parquet.COLUMNS) for row in rows])
    schema = (schema or parquet._schema(arrow)).with_metadata({"sha256": digest})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), buffer, **settings)
    return buffer.getvalue()


def changed(rows: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    return [rows[0], {**rows[1], **fields}, *rows[2:]]


ROWS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "no rows": lambda rows: parquet_of([]),
    "no line about it": lambda rows: parquet_of(rows[1:]),
    "short": lambda rows: parquet_of(changed(rows, bytes=rows[1]["bytes"][:-1])),
    "none": lambda rows: parquet_of(changed(rows, dtype=None)),
    "objects": lambda rows: parquet_of(changed(rows, dtype="|O", shape=[1], bytes=bytes(8))),
    "records": lambda rows: parquet_of(changed(rows, dtype="<f4,<f4", shape=[1], bytes=bytes(8))),
    "texts": lambda rows: parquet_of(changed(rows, dtype="<U2", shape=[1], bytes=bytes(8))),
    "no dtype": lambda rows: parquet_of(changed(rows, dtype="(" * 4000)),
    "huge": lambda rows: parquet_of(changed(rows, shape=[1 << 40, 1 << 40])),
    "below zero": lambda rows: parquet_of(changed(rows, shape=[-1, -1])),
    "of nothing": lambda rows: parquet_of(changed(rows, shape=[0, 1 << 62], bytes=b"")),
    "no shape": lambda rows: parquet_of(changed(rows, shape=None)),
    "tracker": lambda rows: parquet_of(changed(rows, tracker=2_000_000_000)),
    "tracker below": lambda rows: parquet_of(changed(rows, tracker=-5)),
    "twice": lambda rows: parquet_of([*rows, rows[-1]]),
    "dropped column": lambda rows: parquet_of(rows, parquet._schema(arrow).remove(3)),
    "another column": lambda rows: parquet_of(rows, parquet._schema(arrow).set(1, arrow.field("tracker", arrow.int64()))),
    "rows": lambda rows: parquet_of([*rows, *[rows[-1]] * 2000]),
    "bomb": lambda rows: parquet_of(
        [*rows, *[{**rows[-1], "bytes": bytes(1_000_000)}] * 60], compression="zstd", use_dictionary=True
    ),
}


@pytest.mark.parametrize("kind", ROWS)
def test_sealed_nonsense_in_parquet_is_refused(
    kind: str, folder: Path, whole: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapetum.files.arrays.ROOM", 10_000_000)
    monkeypatch.setattr(parquet, "MOST_ROWS", 1000)
    keeper = FolderLedger(whole[1])
    keeper.key = whole[0].key
    data = ROWS[kind](rows_of(parquet.as_parquet(keeper.read(1), keeper.key)))
    assert len(data) < 2_000_000
    with pytest.raises(tp.TapetumError, match=r"^it is damaged"):
        parquet.from_parquet(data, "it", keeper.key)


def test_a_url_goes_on_over_folders_pipes_and_nonsense(folder: Path, whole: tuple[Any, Path], tmp_path: Path) -> None:
    url = f"file://{tmp_path}/scan"
    scanned(folder, url)
    shards = [tmp_path / "scan" / "shards" / f"00000{i}.parquet" for i in range(3)]
    keeper = ParquetLedger(url)
    keeper.key = whole[0].key
    keeper.write(NONSENSE["roots of less than zero"](keeper.read(2)))
    for file in shards[:2]:
        file.unlink()
    shards[0].mkdir()
    os.mkfifo(shards[1])
    (tmp_path / "scan" / "plan.json").write_text("[" * 100_000)
    result = scanned(folder, url)
    assert bits(result) == bits(whole[0])
    assert len(result.notes) == 3
    assert scanned(folder, url).notes == ()
