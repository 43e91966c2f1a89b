"""Where finished shards are kept, so that a run that was killed goes on where it was: one file a shard, whole or not there."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import uuid
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from tapetum.types import TapetumError

if TYPE_CHECKING:
    from tapetum.engines.scan.job import ShardResult

PLAN = "plan.json"
PART = re.compile(r"\.[0-9a-f]{32}\.part")


@runtime_checkable
class Ledger(Protocol):
    """Append-only: workers write shards of their own, nobody changes one. Can be pickled."""

    def open(self, facts: dict[str, Any], key: str, *, resume: bool) -> None:
        """Begins, or goes on with the same work; refuses a place that holds other work."""
        ...

    def done(self) -> set[int]:
        """The shards that are there."""
        ...

    def write(self, result: ShardResult) -> None:
        """Keeps a shard: the whole of it appears, or nothing."""
        ...

    def read(self, shard: int) -> ShardResult:
        """A shard that is there."""
        ...


class FolderLedger:
    """A folder of this computer: plan.json, and shards/000012.npz for every shard that is done."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def open(self, facts: dict[str, Any], key: str, *, resume: bool) -> None:
        shards = self.folder / "shards"
        earlier = self._earlier()
        if earlier is not None and (not resume or earlier.get("key") != key):
            if resume:
                raise TapetumError(refusal(str(self.folder), earlier.get("facts", {}), facts))
            for file in shards.glob("*.npz"):
                file.unlink()
        shards.mkdir(parents=True, exist_ok=True)
        for file in shards.iterdir():
            if PART.fullmatch(file.name):
                file.unlink(missing_ok=True)
        text = json.dumps({"key": key, "facts": facts}, indent=1, default=str)
        written(self.folder / PLAN, text.encode())

    def _earlier(self) -> dict[str, Any] | None:
        with contextlib.suppress(OSError):
            return json.loads((self.folder / PLAN).read_text())
        return None

    def done(self) -> set[int]:
        return {int(file.stem) for file in (self.folder / "shards").glob("*.npz") if file.stem.isdecimal()}

    def write(self, result: ShardResult) -> None:
        written(self._file(result.shard), packed(result))

    def read(self, shard: int) -> ShardResult:
        return unpacked(self._file(shard).read_bytes(), str(self._file(shard)))

    def _file(self, shard: int) -> Path:
        return self.folder / "shards" / f"{shard:06d}.npz"


def refusal(place: str, then: dict[str, Any], now: dict[str, Any]) -> str:
    """What differs between two scans, in a line."""
    names = [name for name in now if str(then.get(name)) != str(now[name])]
    what = (
        f"{names[0]} was {shortened(then.get(names[0]))}, is {shortened(now[names[0]])}" if names else "made by another version"
    )
    return f"{place} holds another scan ({what}); give another folder, or --no-resume to replace it"


def shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:24]}...{text[-12:]}"


def written(path: Path, data: bytes) -> None:
    """The whole file under its name, on the disk, or nothing."""
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def packed(result: ShardResult) -> bytes:
    """A shard as npz: the states' tensors as layer|tracker|name, and a line of JSON."""
    arrays: dict[str, Any] = {}
    for layer, states in result.states.items():
        for i, state in enumerate(states):
            arrays |= {f"{layer}|{i}|{name}": tensor.numpy() for name, tensor in state.items()}
    about = {"shard": result.shard, "skipped": list(result.skipped.items()), "seconds": dict(result.seconds)}
    buffer = io.BytesIO()
    np.savez(buffer, about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8), **arrays)
    return buffer.getvalue()


def unpacked(data: bytes, name: str) -> ShardResult:
    """What `packed` made."""
    from tapetum.engines.scan.job import ShardResult

    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            about = json.loads(stored["about"].tobytes())
            states: dict[str, list[dict[str, torch.Tensor]]] = {}
            for path in stored.files:
                if path != "about":
                    layer, i, part = path.rsplit("|", 2)
                    many = states.setdefault(layer, [])
                    many.extend({} for _ in range(int(i) + 1 - len(many)))
                    many[int(i)][part] = torch.from_numpy(stored[path])
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise TapetumError(f"{name} is damaged ({type(error).__name__}): delete it, and resume") from error
    return ShardResult(about["shard"], states, {int(k): v for k, v in about["skipped"]}, about["seconds"])
