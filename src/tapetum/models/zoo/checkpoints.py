"""What lies in a checkpoint: every table of tensors in it, however deep, read without running code from it."""

from __future__ import annotations

import argparse
import pathlib
import pickle
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

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
"""Classes that trainers keep beside the weights (settings, paths, numpy's numbers) and that run nothing when they are read."""

_reading = threading.Lock()  # torch's list of such classes is one for all threads


def read_tables(path: Path) -> dict[str, dict[str, Tensor]]:
    """{place: {name: tensor}} of a file, the outermost place first: "" is the file itself, "checkpoint.state_dict" a table in
    one of its tables. Pickled code is never run."""
    if not path.is_file():
        raise ModelError(f"no weights file {path}")
    try:
        content = _read(path)
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path.name} holds code, not only tensors: save model.state_dict() instead") from error
    except Exception as error:
        raise ModelError(f"{path.name} is no readable weights file ({type(error).__name__})") from error
    tables = dict(_tables(content))
    if not tables:
        raise ModelError(f"{path.name} holds no table of tensors: save model.state_dict()")
    return tables


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    with _reading, torch.serialization.safe_globals(PLAIN):
        return torch.load(path, map_location="cpu", weights_only=True)


def _tables(content: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, dict[str, Tensor]]]:
    if isinstance(content, (list, tuple)):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping) or len(place) > DEEPEST:
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        yield ".".join(place), tensors
    for name, value in content.items():
        yield from _tables(value, (*place, str(name)))
