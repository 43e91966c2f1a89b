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

from tapetum.files import checksum
from tapetum.processor import processor


def hashed_files(names: Sequence[str]) -> dict[str, str]:
    """{file: sha256} of those that are files."""
    return {name: checksum(name) for name in dict.fromkeys(names) if _is_file(name)}


def _is_file(name: str) -> bool:
    return bool(name) and os.path.isfile(name)  # also asked of what no file can be called: too long, a null in it


def sha256(tensor: Tensor) -> str:
    """Hash of a tensor's shape, type and bytes."""
    flat = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{tuple(flat.shape)} {flat.dtype}".encode())
    digest.update(flat.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of all packages that can change a number."""
    return dict(_versions())


@functools.cache
def _versions() -> dict[str, str]:
    packages = {name: importlib.metadata.version(name) for name in ("tapetum", "torch", "torchvision", "timm", "numpy")}
    return {"python": platform.python_version(), **packages}


def machine() -> str:
    """Facts that can change the last bits of a sum: the kind of processor, and the number of threads."""
    return f"{processor()}, threads: {torch.get_num_threads()}"


def now() -> str:
    """The time, in words that every program reads."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
