"""Downloads published weights once, checks them by their git repository's blob id, and keeps them in torch.hub's folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from tapetum.data.downloads import CHUNK, download
from tapetum.types import ModelError


@dataclass(frozen=True)
class Published:
    """File published in a git repository, with its `size` in bytes and the id of its git `blob`."""

    name: str
    url: str
    size: int
    blob: str


def fetched(file: Published) -> Path:
    """Returns the path of a published file on this computer; downloads it if missing, refuses it if its blob id is wrong."""
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
    """Returns git's id of a file's content: the SHA-1 of "blob ", the size, a zero byte and the content."""
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
