"""Imagenette, ten easy classes of ImageNet: downloaded once, verified by checksum, unpacked, and read as a folder."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import NamedTuple

import torch

from tapetum.data.downloads import download, md5_of
from tapetum.data.streams.folders import Files, folder
from tapetum.files import shown
from tapetum.keeping.whole import clear_leftovers, take_place, work_folder
from tapetum.progress import report
from tapetum.types import ImageError


class Archive(NamedTuple):
    """A published archive of Imagenette; it holds one folder of the archive's name, with train and val inside."""

    url: str
    md5: str

    @property
    def file(self) -> str:
        """Name of the archive's file, such as imagenette2-320.tgz."""
        return self.url.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """Name of the folder in the archive, such as imagenette2-320."""
        return self.file.removesuffix(".tgz")


_AT = "https://s3.amazonaws.com/fast-ai-imageclas"
# Keys: shorter side of the pictures in px. Addresses and checksums as in torchvision.datasets.Imagenette.
ARCHIVES = {
    "160": Archive(f"{_AT}/imagenette2-160.tgz", "e793b78cc4c9e9a4ccc0c1155377a412"),
    "320": Archive(f"{_AT}/imagenette2-320.tgz", "3df6f0d01a2c9592104656642f5e78a3"),
    "full": Archive(f"{_AT}/imagenette2.tgz", "fe2fc210e6bb7c5664d602c3cd71e612"),
}
SPLITS = ("train", "val")
DEFAULT_SIZE = "320"  # models take 224 px, for which pictures of 160 px would be enlarged


def from_text(text: str) -> Files:
    """Returns the source named by "imagenette", "imagenette:160" or "imagenette:320:val".

    The parts are a size (160, 320 or full; 320 by default) and a split. Without a split, both (13,394 pictures).
    Labels are the names of the ten classes. Files are kept in the folder `datasets` of torch.hub;
    an archive that is already there under its published name is used instead of a download.
    """
    size, split = _parsed(text)
    root = _unpacked(ARCHIVES[size])
    name = f"imagenette-{size}"
    return folder(root, name=name) if split is None else folder(root / split, name=f"{name}/{split}")


def _parsed(text: str) -> tuple[str, str | None]:
    _, *options = text.split(":")
    sizes, splits = [one for one in options if one in ARCHIVES], [one for one in options if one in SPLITS]
    if len(sizes) > 1 or len(splits) > 1 or len(sizes) + len(splits) < len(options):
        raise ImageError(f'"{shown(text)}": give imagenette[:{"|".join(ARCHIVES)}][:{"|".join(SPLITS)}]')
    return (sizes or [DEFAULT_SIZE])[0], splits[0] if splits else None


def _unpacked(archive: Archive) -> Path:
    """Returns the folder of the unpacked archive on this computer; downloads and unpacks it if it is missing.

    The folder has its name only when it is complete, so one that is there needs no check. Each process works in a temporary
    folder, so that two may do this at once: the first to finish wins.
    """
    home = Path(torch.hub.get_dir()) / "datasets"
    target, theirs = home / archive.folder, home / archive.file
    if target.is_dir():
        return target
    try:
        home.mkdir(parents=True, exist_ok=True)
        clear_leftovers(home)
        with work_folder(home) as work:
            if theirs.is_file():
                _check(archive, theirs, f"{shown(theirs)} is", "delete it, or copy it again")
            _unpack(archive, theirs if theirs.is_file() else _fetched(archive, work, home), work, target)
    except OSError as error:
        raise ImageError(f"{shown(home)}: cannot be written ({error.strerror}); set TORCH_HOME to another folder") from error
    return target


def _fetched(archive: Archive, work: Path, home: Path) -> Path:
    file = work / archive.file
    try:
        download(archive.url, file, lambda part: _check(archive, part, f"{archive.url} gave what is", "try again"))
    except OSError as error:
        why = shown(getattr(error, "reason", None) or error)
        hint = f"put {archive.file} into {shown(home)}, or give a folder of your own"
        raise ImageError(f"{archive.url} cannot be downloaded ({why}); {hint}") from error
    return file


def _check(archive: Archive, file: Path, what: str, hint: str) -> None:
    found, size = md5_of(file), file.stat().st_size
    if found != archive.md5:
        facts = f"{size} bytes, MD5 {found}, published is {archive.md5}"
        raise ImageError(f"{what} not the published {archive.file} ({facts}); {hint}")


def _unpack(archive: Archive, file: Path, work: Path, target: Path) -> None:
    """Unpacks the archive; tarfile's data filter refuses members and links that lead outside the folder."""
    inside = work / "unpacked"
    try:
        length = file.stat().st_size
        with file.open("rb") as packed, tarfile.open(fileobj=packed, mode="r:gz") as members:
            for member in members:
                members.extract(member, inside, filter="data")
                report(packed.tell(), length, "bytes unpacked")
        if not all((inside / archive.folder / split).is_dir() for split in SPLITS):
            raise ImageError(f"{archive.file}: holds no {archive.folder}/train and val")
        take_place(inside / archive.folder, target)
    except (tarfile.TarError, EOFError) as error:
        raise ImageError(f"{file.name}: cannot be unpacked ({shown(error)})") from error
    except OSError as error:
        if not target.is_dir():  # else another process was first
            raise ImageError(f"{shown(target)}: cannot be unpacked ({error.strerror or error}); is there room?") from error
