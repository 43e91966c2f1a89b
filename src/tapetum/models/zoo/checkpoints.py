"""Reads the tables of tensors in a checkpoint, also in nested dicts and lists, without running code from it."""

from __future__ import annotations

import argparse
import os
import pathlib
import pickle
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from tapetum.files import shown, tensors_in
from tapetum.switches import ignoring
from tapetum.types import ModelError

DEEPEST = 4

# numpy pickles its numbers and arrays by two functions whose modules move from version to version
_SCALAR, _ARRAY = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
PLAIN: list[Any] = [
    argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath, pathlib.WindowsPath, pathlib.PureWindowsPath,
    np.dtype, np.ndarray, np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType, np.dtypes.Int32DType,
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((_ARRAY, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
]  # fmt: skip
"""Classes of objects that trainers store beside the weights (settings, paths, numpy's numbers); reading them runs no code."""

_reading = threading.Lock()  # torch's list of allowed classes is shared by all threads


def read_tables(path: Path) -> dict[str, dict[str, Tensor]]:
    """Returns all tables of tensors in a file, {place: {name: tensor}}, the outermost first. Pickled code is never run.

    The place "" is the file's top level, "checkpoint.state_dict" a table nested in another.
    """
    if not os.path.isfile(path):
        raise ModelError(f"no weights file {shown(path)}")
    name = shown(path.name)
    try:
        _check_archive(path)
        content = _read(path)
    except pickle.UnpicklingError as error:
        raise ModelError(f"{name} holds code, not only tensors: save model.state_dict() instead") from error
    except _Packed as error:
        raise ModelError(f"{name} is {error}: save it with torch.save, or as safetensors") from error
    except Exception as error:
        raise ModelError(f"{name} is no readable weights file ({type(error).__name__})") from error
    tables = dict(_tables(content, set()))
    if not tables:
        raise ModelError(f"{name} holds no table of tensors: save model.state_dict()")
    return tables


class _Packed(Exception):
    """Raised for an archive that torch cannot have written; carries the reason in words."""


def _check_archive(path: Path) -> None:
    """Refuses encrypted and compressed archives: torch writes none, and unpacked they may take any amount of memory."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    if any(info.flag_bits & 1 for info in infos):
        raise _Packed("encrypted")
    if sum(info.file_size for info in infos) > 2 * path.stat().st_size:
        raise _Packed("packed more tightly than tensors can be, or damaged")


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return tensors_in(path)[1]
    with _reading, ignoring(), torch.serialization.safe_globals(PLAIN):  # warnings are about tensors that are refused later
        return torch.load(path, map_location="cpu", weights_only=True)


def _tables(content: Any, seen: set[int], place: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yields (place, table) for each table of tensors inside, once even if referred to often, as a hostile pickle may do."""
    if not isinstance(content, (Mapping, list, tuple)) or len(place) > DEEPEST or id(content) in seen:
        return
    seen.add(id(content))
    parts = cast("Mapping[Any, Any]", content if isinstance(content, Mapping) else dict(enumerate(content)))
    tensors = {name: value for name, value in parts.items() if isinstance(name, str) and isinstance(value, Tensor)}
    plain = {name: value for name, value in tensors.items() if not value.is_nested}  # a nested tensor has no single shape
    if plain:
        yield ".".join(place), plain
    for name, value in parts.items():
        yield from _tables(value, seen, (*place, str(name)))
