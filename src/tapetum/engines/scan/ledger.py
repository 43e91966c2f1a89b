"""Storage of finished shards, so that a killed run can continue: one file per shard, complete or absent.

Every shard carries the key of its scan. A shard that is damaged, or that belongs to another scan, is computed again. Several
runs may share a ledger: on processors of one kind they write the same bits under the same names. A shard records which
processor computed it; a scan with shards from several kinds of processors has a note about that.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from tapetum.engines.scan.shards import ShardResult
from tapetum.files import arrays_in, contents, fits, inside, opened, parsed, shown
from tapetum.keeping.keyed import Key
from tapetum.keeping.places import removed, writable
from tapetum.keeping.whole import clear_leftovers, write_whole
from tapetum.types import DamagedError, TapetumError

PLAN = "plan.json"
DIGEST = hashlib.sha256().digest_size
LARGEST = 16_000_000_000
"""Largest size in bytes of a shard; hashing that many takes about ten seconds."""

DTYPES = frozenset(np.dtype(name).newbyteorder("<").str for name in (
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"
))  # fmt: skip
"""Number types that trackers' states may have, as numpy names them."""


@runtime_checkable
class Ledger(Protocol):
    """Storage of finished shards: workers add them, and none is changed afterwards. A ledger can be pickled."""

    def open(self, key: Key, *, resume: bool) -> None:
        """Begins a scan, or continues one if `resume`; refuses a place that holds another scan."""
        ...

    def done(self) -> set[int]:
        """Returns the numbers of the finished shards."""
        ...

    def write(self, result: ShardResult) -> None:
        """Writes a shard so that it appears complete or not at all."""
        ...

    def read(self, shard: int) -> ShardResult:
        """Reads a finished shard; raises a `DamagedError` if it is missing, incomplete, or of another scan."""
        ...

    def forget(self, shard: int) -> None:
        """Deletes a shard, so that it is computed again."""
        ...


class FolderLedger:
    """A ledger in a local folder: plan.json, and shards/000012.npz for every finished shard."""

    def __init__(self, folder: str | Path) -> None:
        with writable(folder):
            self.folder = Path(os.path.abspath(folder))
        self.key = ""

    def open(self, key: Key, *, resume: bool) -> None:
        self.key = key.hash
        earlier = self._earlier()
        if resume and earlier is not None and earlier.get("key") != key.hash:
            raise TapetumError(key.refusal(str(self.folder), "scan", earlier["facts"]))
        plan, shards = self.folder / PLAN, self.folder / "shards"
        with writable(shards):
            shards.mkdir(parents=True, exist_ok=True)
            clear_leftovers(self.folder, shards)
            for file in () if resume else shards.glob("*.npz"):
                removed(file)
            if plan.is_dir():
                removed(plan)
        write_whole(plan, plan_text(key))

    def _earlier(self) -> dict[str, Any] | None:
        with contextlib.suppress(DamagedError):
            return plan_read(contents(inside(self.folder, PLAN)))
        return None

    def done(self) -> set[int]:
        return {int(file.stem) for file in (self.folder / "shards").glob("*.npz") if file.stem.isdecimal()}

    def write(self, result: ShardResult) -> None:
        write_whole(self._file(result.shard), packed(result, self.key))

    def read(self, shard: int) -> ShardResult:
        file = inside(self.folder, "shards", self._file(shard).name)
        return unpacked(file, shown(file), self.key)

    def forget(self, shard: int) -> None:
        with writable(self._file(shard)):
            removed(self._file(shard))

    def _file(self, shard: int) -> Path:
        return self.folder / "shards" / f"{shard:06d}.npz"


def plan_text(key: Key) -> bytes:
    """Returns the content of plan.json: the facts of the scan, and the key that its shards carry."""
    return json.dumps({"key": key.hash, "facts": key.facts}, indent=1, default=str).encode()


def plan_read(data: bytes) -> dict[str, Any] | None:
    """Reads plan.json; None if it is damaged, which does no harm, since every shard carries the key of its scan as well."""
    found = parsed(data, PLAN)
    return found if isinstance(found, dict) and isinstance(found.get("facts"), dict) else None


def shard_rows(result: ShardResult, key: str) -> tuple[dict[str, Any], list[tuple[str, int, str, NDArray[Any]]]]:
    """Returns a shard as plain data: facts about it, and its arrays as (layer, number of the tracker, name, array) rows."""
    about = {
        "key": key,
        "shard": result.shard,
        "skipped": list(result.skipped.items()),
        "seconds": dict(result.seconds),
        "processor": result.processor,
    }
    return about, [
        (layer, i, name, tensor.numpy())
        for layer, states in result.states.items()
        for i, state in enumerate(states)
        for name, tensor in state.items()
    ]


def result_of(about: bytes, rows: Iterable[tuple[str, int, str, NDArray[Any]]], place: str, key: str) -> ShardResult:
    """Rebuilds a shard from what `shard_rows` returned; refuses shards of another scan, and rows that no shard has."""
    told = parsed(about, place)
    if not isinstance(told, dict) or not _is_about(cast("dict[str, Any]", told)):
        raise DamagedError(f"{place} is damaged: it does not say which shard it is")
    if told["key"] != key:
        raise DamagedError(f"{place} belongs to another scan")
    states: dict[str, list[dict[str, torch.Tensor]]] = {}
    for layer, i, name, array in rows:
        many = states.setdefault(layer, [])
        if not 0 <= i <= len(many) or (i < len(many) and name in many[i]) or array.dtype.str not in DTYPES:
            raise DamagedError(f"{place} is damaged: {shown(layer)} has a table {shown(name)} that no shard has")
        many.extend([{}] if i == len(many) else [])
        many[i][name] = torch.from_numpy(array)
    return ShardResult(told["shard"], states, dict(told["skipped"]), told["seconds"], told["processor"])


def _is_about(told: dict[str, Any]) -> bool:
    """Checks whether the facts about a shard have the names and types that `shard_rows` writes."""
    if told.keys() != {"key", "shard", "skipped", "seconds", "processor"} or not isinstance(told["skipped"], list):
        return False
    pairs = [tuple(one) if isinstance(one, list) else one for one in told["skipped"]]
    return (
        fits(told["shard"], int)
        and fits(tuple(pairs), tuple[tuple[int, str], ...])
        and fits(told["seconds"], Mapping[str, float])
        and all(math.isfinite(one) for one in told["seconds"].values())
        and isinstance(told["processor"], str)
    )


def packed(result: ShardResult, key: str) -> bytes:
    """Returns a shard as bytes: an npz of the states' tensors (layer|tracker|name) and a line of JSON, then the npz's SHA-256.

    numpy can read these bytes. The archive's own checksums do not cover its lists of names, hence the SHA-256. Counts and sums
    are mostly zeros: compressed they take a fifth of the space, for two per cent of the time of the forward passes.
    """
    about, rows = shard_rows(result, key)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        _add(archive, "about", np.frombuffer(json.dumps(about).encode(), dtype=np.uint8))
        for layer, i, name, array in rows:
            _add(archive, f"{layer}|{i}|{name}", array)
    return buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest()


def _add(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    deflated = np.issubdtype(array.dtype, np.integer)  # floats hardly shrink
    packing = (zipfile.ZIP_DEFLATED, 1) if deflated else (zipfile.ZIP_STORED, None)
    archive.writestr(zipfile.ZipInfo(f"{name}.npy"), file.getvalue(), *packing)


def unpacked(source: Path | bytes, place: str, key: str) -> ShardResult:
    """Reads a shard from a file or from bytes that `packed` made; refuses damaged ones, and those of another scan."""
    with io.BytesIO(source) if isinstance(source, bytes) else opened(source) as file:
        if not _is_sealed(file):
            raise DamagedError(f"{place} is damaged: it was changed since it was written")
    arrays = arrays_in(source, place)
    about = arrays.pop("about", np.empty(0, np.uint8))
    rows: list[tuple[str, int, str, NDArray[Any]]] = []
    for path, array in arrays.items():
        layer, number, name = path.rsplit("|", 2) if path.count("|") > 1 else ("", "", path)
        if not (number.isascii() and number.isdecimal() and len(number) < 10):
            raise DamagedError(f"{place} is damaged: no shard has an array {shown(path)}")
        rows.append((layer, int(number), name, array))
    return result_of(about.tobytes(), rows, place, key)


def _is_sealed(file: io.BufferedIOBase) -> bool:
    """Checks whether a file's last 32 bytes are the SHA-256 of all bytes before them; reads it piece by piece."""
    left = file.seek(0, os.SEEK_END) - DIGEST
    if not 0 <= left <= LARGEST:
        return False
    file.seek(0)
    whole = hashlib.sha256()
    while left and (block := file.read(min(left, 1 << 20))):
        whole.update(block)
        left -= len(block)
    return whole.digest() == file.read()
