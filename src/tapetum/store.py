"""Saves results as a folder with arrays.npz and manifest.json, which other programs can read too; pickle is not used.

A folder appears under its name only when it is complete. Since somebody else may have written it, reading checks everything:
the manifest describes each array, a checksum ties manifest and arrays together, and every field is compared with its type.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum.files import arrays_in, checksum, inside, may_unpack, misfit, shown, table_in
from tapetum.keeping.places import ELSEWHERE, writable
from tapetum.keeping.whole import whole_folder
from tapetum.registry import methods
from tapetum.types import DamagedError, TapetumError
from tapetum.types.results import kinds

SCHEMA = 2
ARRAYS, MANIFEST = "arrays.npz", "manifest.json"
LARGEST = 400_000_000
"""Bytes of a manifest: a scan of a million pictures names them all."""

WIDE = {"bfloat16": "float32"}
"""Types that numpy lacks, and the types they are written as."""

KINDS: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
        "float16", "bfloat16", "float32", "float64", "complex64", "complex128",
    )
}  # fmt: skip
"""{name: dtype} of the tensors that can be saved."""


def save(result: Any, folder: str | Path) -> Path:
    """Writes a tapetum result, or a list or dict of results, into a new or empty folder; returns the folder's path."""
    target = Path(folder)
    with writable(target, ELSEWHERE):
        if "\0" in str(target):
            raise OSError("a name with a zero in it")
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise TapetumError(f"{shown(target)} is there already: give a new or an empty folder")
    return _save(result, target)


def save_again(result: Any, folder: Path) -> Path:
    """Writes a result into a folder, replacing an earlier result there; returns the folder's path."""
    return _save(result, folder, replaces=True)


def _save(result: Any, target: Path, *, replaces: bool = False) -> Path:
    arrays: dict[str, NDArray[Any]] = {}
    tree = _packed(result, arrays)
    named = cast("dict[str, Any]", arrays)  # no array has the name of `savez`'s option allow_pickle
    with writable(target, ELSEWHERE), whole_folder(target, replaces=replaces) as work:
        np.savez_compressed(work / ARRAYS, **named)
        if not may_unpack(sum(array.nbytes for array in arrays.values()), (work / ARRAYS).stat().st_size):
            np.savez(work / ARRAYS, **named)
        manifest = {"schema": SCHEMA, "tapetum": version("tapetum"), "seal": seal(tree, work / ARRAYS), "result": tree}
        (work / MANIFEST).write_text(json.dumps(manifest, indent=1))
    return target


def seal(tree: Any, arrays: Path) -> str:
    """Returns one SHA-256 over the manifest's result and the arrays file; reveals changes, and files of different results."""
    return checksum(arrays, json.dumps(tree, separators=(",", ":")).encode())


def open(folder: str | Path) -> Any:
    """Reads the result that `save` wrote into a folder; refuses one that is damaged or was changed."""
    source, place = Path(folder), shown(folder)
    if not os.path.isfile(source / MANIFEST):
        raise DamagedError(f"{place} holds no saved result (no file {MANIFEST}); give a folder that `tapetum.save` wrote")
    manifest = table_in(inside(source, MANIFEST), LARGEST)
    schema = manifest.get("schema")
    if schema != SCHEMA:
        raise DamagedError(f"{place} was saved with schema {shown(schema)}, this version reads {SCHEMA}")
    tree = manifest.get("result")
    if seal(tree, inside(source, ARRAYS)) != manifest.get("seal"):
        raise DamagedError(f"{place} is damaged: it was changed since it was saved")
    reading = _Unpacker(arrays_in(inside(source, ARRAYS)))
    try:
        result = reading.value(tree)
        if reading.arrays:
            raise _WrongManifest(f"nothing in its manifest is array {shown(next(iter(reading.arrays)))}")
    except (_WrongManifest, TapetumError) as error:
        other = manifest.get("tapetum") if manifest.get("tapetum") != version("tapetum") else None
        saved = f"; tapetum {shown(other)} saved it, this is {version('tapetum')}" if other else ""
        raise DamagedError(f"{place} is damaged: {error}{saved}") from error
    return result


# --- writing


def _packed(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """Converts a value to JSON: {"$array": name, ...}, {"$type": class, ...fields}, {"$tuple": [...]}; fills `arrays`."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        return _packed_tensor(value, arrays)
    kind = kinds.get(type(value).__name__)
    if kind is not None and kind is type(value):  # not another class of the same name
        return _packed_fields(kind, value, arrays)
    if isinstance(value, (list, tuple)):
        # casts: `isinstance` cannot say what a container holds
        parts = [_packed(part, arrays) for part in cast("list[Any] | tuple[Any, ...]", value)]
        return parts if isinstance(value, list) else {"$tuple": parts}
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()
        return {"$dict": [[_packed(key, arrays), _packed(part, arrays)] for key, part in pairs]}
    if callable(value):
        return {"$name": getattr(value, "__name__", str(value))}
    raise TapetumError(f"a {type(value).__name__} cannot be saved")


def _packed_fields(kind: type, value: Any, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Converts a result to JSON; refuses one whose fields do not fit their types, since it could not be read again."""
    names = getattr(value, "_fields", None) or [f.name for f in dataclasses.fields(value)]
    fields = {name: getattr(value, name) for name in names}
    wrong = misfit(kind, fields)
    if wrong:
        raise TapetumError(f"{wrong}: it cannot be saved")
    return {"$type": kind.__name__, **{name: _packed(part, arrays) for name, part in fields.items()}}


def _packed_tensor(tensor: Tensor, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    name, dtype = f"a{len(arrays)}", str(tensor.dtype).removeprefix("torch.")
    if dtype not in KINDS or tensor.layout != torch.strided or tensor.is_meta:
        kind = "meta" if tensor.is_meta else dtype if dtype not in KINDS else str(tensor.layout).removeprefix("torch.")
        raise TapetumError(f"a {kind} tensor cannot be saved: give it as a dense one of float32")
    plain = tensor.detach().cpu().resolve_conj().resolve_neg()
    arrays[name] = (plain.float() if dtype in WIDE else plain).numpy()
    return {"$array": name, "dtype": dtype, "shape": list(tensor.shape), "finite": _is_finite(arrays[name])}


def _is_finite(array: NDArray[Any]) -> bool:
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


# --- reading


class _WrongManifest(Exception):
    """Raised for a manifest that does not describe a result; the message says why."""


@dataclasses.dataclass
class _Unpacker:
    """Rebuilds a result from its manifest; each array leaves `arrays` when used, so the remaining ones were never named."""

    arrays: dict[str, NDArray[Any]]

    def value(self, tree: Any) -> Any:
        if isinstance(tree, list):
            return [self.value(part) for part in cast("list[Any]", tree)]
        return self._table(cast("dict[str, Any]", tree)) if isinstance(tree, dict) else tree

    def _table(self, tree: dict[str, Any]) -> Any:
        if "$type" in tree:
            return self._result(tree["$type"], {name: part for name, part in tree.items() if name != "$type"})
        readers = {"$array": self._tensor, "$tuple": self._tuple, "$dict": self._dict, "$name": self._name}
        found = [name for name in readers if name in tree]
        if len(found) != 1 or (len(tree) > 1 and found != ["$array"]):
            raise _WrongManifest(f"a table of {shown(', '.join(tree)) or 'nothing'} in its manifest")
        return readers[found[0]](tree)

    def _tensor(self, tree: dict[str, Any]) -> Tensor:
        name, dtype, shape, finite = (tree.get(key) for key in ("$array", "dtype", "shape", "finite"))
        if set(tree) != {"$array", "dtype", "shape", "finite"} or not isinstance(name, str) or name not in self.arrays:
            raise _WrongManifest(f"an array {shown(name)} that is not there, or is named twice")
        array = self.arrays.pop(name)
        if not isinstance(dtype, str) or dtype not in KINDS or array.dtype != np.dtype(WIDE.get(dtype, dtype)):
            raise _WrongManifest(f"its array {name} holds {array.dtype}, not {shown(dtype)}")
        if shape != list(array.shape):
            raise _WrongManifest(f"its array {name} has the shape {list(array.shape)}, not {shown(shape)}")
        if finite is not _is_finite(array):
            raise _WrongManifest(f"its array {name} holds NaN or infinity where there was none, or none where there was")
        return torch.as_tensor(array).to(KINDS[dtype])

    def _tuple(self, tree: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(self.value(_list(tree["$tuple"])))

    def _dict(self, tree: dict[str, Any]) -> dict[Any, Any]:
        pairs = [_list(pair) for pair in _list(tree["$dict"])]
        if any(len(pair) != 2 for pair in pairs):
            raise _WrongManifest("a pair of a table that is none in its manifest")
        keys = [self.value(key) for key, _ in pairs]
        if not all(_is_key(key) for key in keys):
            raise _WrongManifest("a key of a table that can be none in its manifest")
        found = dict(zip(keys, (self.value(part) for _, part in pairs), strict=True))
        if len(found) < len(pairs):
            raise _WrongManifest("a table with two values of one key in its manifest")
        return found

    def _name(self, tree: dict[str, Any]) -> str:
        if not isinstance(tree["$name"], str):
            raise _WrongManifest("a name that is no text in its manifest")
        return tree["$name"]

    def _result(self, name: Any, fields: dict[str, Any]) -> Any:
        kind = _kind(name) if isinstance(name, str) else None
        if kind is None:
            raise _WrongManifest(f"{shown(name)} is no result of ours")
        values = {field: self.value(part) for field, part in fields.items()}
        wrong = misfit(kind, values)
        if wrong:
            raise _WrongManifest(shown(wrong))
        return cast("Any", kind)(**values)


def _kind(name: str) -> type | None:
    """Returns the result class of that name, or None; imports all methods first if they may define it."""
    if name not in kinds:
        methods()
    return kinds.get(name)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _WrongManifest("something that is no list in its manifest")
    return cast("list[Any]", value)


def _is_key(key: Any) -> bool:
    parts = cast("tuple[Any, ...]", key) if isinstance(key, tuple) else (key,)
    return all(part is None or isinstance(part, (bool, int, float, str)) for part in parts)
