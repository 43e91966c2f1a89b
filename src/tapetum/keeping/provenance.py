"""Provenance of results: hashes of tensors and files, versions of packages, the machine, and the time."""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Sequence

import torch
from torch import Tensor

from tapetum.files import are_closed, checksum
from tapetum.processor import processor


def hashed_files(names: Sequence[str]) -> dict[str, str]:
    """Returns {name: SHA-256 of the file} for those of the names that are files; none where files are `closed`."""
    if are_closed():
        return {}
    return {name: checksum(name) for name in dict.fromkeys(names) if os.path.isfile(name)}


def sha256(tensor: Tensor) -> str:
    """Returns the SHA-256 of a tensor's shape, type and bytes, in hexadecimal."""
    flat = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{tuple(flat.shape)} {flat.dtype}".encode())
    digest.update(flat.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Returns the versions of Python and of all packages that can change a number."""
    return dict(_versions())


@functools.cache
def _versions() -> dict[str, str]:
    packages = {name: importlib.metadata.version(name) for name in ("tapetum", "torch", "torchvision", "timm", "numpy")}
    return {"python": platform.python_version(), **packages}


def machine() -> str:
    """Describes the processor and the number of threads, which can change the last bits of a sum."""
    return f"{processor()}, threads: {torch.get_num_threads()}"


def now() -> str:
    """Returns the current time in UTC, as ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
