"""Results on disk: a folder with arrays.npz and manifest.json, which open without our code. No pickle.

A folder appears under its name only when it is complete.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum import types
from tapetum.types import Number, Prediction, TapetumError

SCHEMA = 1


def save(result: Any, folder: str | Path) -> Path:
    """Writes a result (any of ours, or a list or dict of them) into a new or empty folder and returns it."""
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise TapetumError(f"{target} is there already: give a new or an empty folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = {}
    tree = _packed(result, arrays)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        np.savez_compressed(work / "arrays.npz", **arrays)  # pyright: ignore[reportArgumentType] (no name is allow_pickle)
        manifest = {"schema": SCHEMA, "tapetum": version("tapetum"), "result": tree}
        (work / "manifest.json").write_text(json.dumps(manifest, indent=1))
        work.chmod(0o755)
        work.replace(target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return target


def open(folder: str | Path) -> Any:
    """Reads what `save` wrote."""
    source = Path(folder)
    try:
        manifest = json.loads((source / "manifest.json").read_text())
        with (source / "arrays.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise TapetumError(f"{source} holds no saved result ({type(error).__name__})") from error
    schema = cast("dict[str, Any]", manifest).get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        raise TapetumError(f"{source} was saved with schema {schema}, this version reads {SCHEMA}")
    try:
        return _unpacked(manifest["result"], arrays)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TapetumError(f"{source} is damaged: its manifest does not describe a result ({type(error).__name__})") from error


def _packed(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """JSON with arrays taken out: {"$array": name}, {"$type": class, ...fields}, {"$tuple": [...]}."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        return _packed_tensor(value, arrays)
    if type(value) in (Prediction, Number):
        return {"$type": type(value).__name__, **{name: _packed(one, arrays) for name, one in value._asdict().items()}}
    if isinstance(value, (list, tuple)):
        # casts: `isinstance` cannot say what a container holds
        parts = [_packed(part, arrays) for part in cast("list[Any] | tuple[Any, ...]", value)]
        return parts if isinstance(value, list) else {"$tuple": parts}
    if dataclasses.is_dataclass(value) and getattr(types, type(value).__name__, None) is type(value):  # not a namesake
        fields = {f.name: _packed(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}
        return {"$type": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        return {"$dict": [[_packed(key, arrays), _packed(part, arrays)] for key, part in pairs]}
    if callable(value):
        return {"$name": getattr(value, "__name__", str(value))}
    raise TapetumError(f"a {type(value).__name__} cannot be saved")


def _packed_tensor(tensor: Tensor, arrays: dict[str, NDArray[Any]]) -> dict[str, str]:
    name = f"a{len(arrays)}"
    plain = tensor.detach().cpu()
    arrays[name] = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    return {"$array": name, "dtype": str(tensor.dtype).removeprefix("torch.")}


def _unpacked(tree: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(tree, list):
        return [_unpacked(part, arrays) for part in cast("list[Any]", tree)]
    return _unpacked_table(cast("dict[str, Any]", tree), arrays) if isinstance(tree, dict) else tree


def _unpacked_table(tree: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Any:
    if "$array" in tree:
        return torch.as_tensor(arrays[tree["$array"]]).to(getattr(torch, tree["dtype"]))
    if "$tuple" in tree:
        return tuple(_unpacked(part, arrays) for part in tree["$tuple"])
    if "$dict" in tree:
        return {_unpacked(key, arrays): _unpacked(part, arrays) for key, part in tree["$dict"]}
    if "$name" in tree:
        return tree["$name"]
    fields = {name: _unpacked(part, arrays) for name, part in tree.items() if name != "$type"}
    kind: Any = getattr(types, tree["$type"])
    if not (dataclasses.is_dataclass(kind) or kind in (Prediction, Number)):
        raise TypeError(tree["$type"])
    return cast("Any", kind)(**fields)
