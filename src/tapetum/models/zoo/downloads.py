"""Published weights: downloaded once, compared with their repository's own record, kept beside those of torch.hub."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.request import Request, urlopen

import torch

from tapetum.progress import track
from tapetum.types import ModelError

CHUNK = 1 << 20
TIMEOUT_S = 20


@dataclass(frozen=True)
class Published:
    """A file that somebody publishes in a git repository, which lists its `size` in bytes and its `blob` id."""

    name: str
    url: str
    size: int
    blob: str


def fetched(file: Published) -> Path:
    """Where the file is on this computer; it is downloaded if it is not there yet. Refused unless every byte is right."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / file.name
    if not path.is_file():
        _download(file, path)
    elif (found := blob_id(path)) != file.blob:
        raise ModelError(
            f"{path} is not the published {file.name} ({path.stat().st_size} bytes, git blob {found[:12]}; published are "
            f"{file.size}, {file.blob[:12]}): delete it to download it again, or give it as weights=FILE if it is meant"
        )
    return path


def blob_id(path: Path) -> str:
    """The id that git gives a file's content: the SHA-1 of "blob ", its size, a zero byte and the bytes."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _download(file: Published, path: Path) -> None:
    """Under a name of its own until it is complete and right, so nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            for chunk in track(_received(file), total=file.size, unit="bytes", size=len):
                out.write(chunk)
        if blob_id(part) != file.blob:
            raise ModelError(
                f"what {file.url} gave is not the published {file.name} ({part.stat().st_size} bytes of {file.size}, git blob "
                f"{blob_id(part)[:12]} for {file.blob[:12]}) and was not kept; try again, or give weights=FILE"
            )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _received(file: Published) -> Iterator[bytes]:
    """The bytes as they come in, at most one more than there should be."""
    try:
        with urlopen(Request(file.url, headers={"User-Agent": "tapetum"}), timeout=TIMEOUT_S) as response:
            yield from _read(response, file.size + 1)
    except HTTPException as error:  # a connection that ends early
        raise ConnectionError(str(error)) from error


def _read(response: BinaryIO, left: int) -> Iterator[bytes]:
    while left and (chunk := response.read(min(CHUNK, left))):
        left -= len(chunk)
        yield chunk
