"""Published weights: downloaded once, compared with their repository's own record, kept beside those of torch.hub."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from tapetum.data.downloads import CHUNK, download
from tapetum.types import ModelError


@dataclass(frozen=True)
class Published:
    """A file that somebody publishes in a git repository, which lists its `size` in bytes and its `blob` id."""

    name: str
    url: str
    size: int
    blob: str


def fetched(file: Published) -> Path:
    """Path of the file on this computer; downloads it if it is missing, and refuses it unless every byte is right."""
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
    def check(part: Path) -> None:
        if blob_id(part) != file.blob:
            raise ModelError(
                f"what {file.url} gave is not the published {file.name} ({part.stat().st_size} bytes of {file.size}, git blob "
                f"{blob_id(part)[:12]} for {file.blob[:12]}) and was not kept; try again, or give weights=FILE"
            )

    download(file.url, path, check, size=file.size)
