"""Sources of picture files: folders, with or without class folders, and lists of files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from tapetum.data.sources import LARGEST, find_images, is_address
from tapetum.data.streams.base import Encoded, digest, folder_labels, path_id, stamp
from tapetum.files import contents, shown
from tapetum.types import ImageError


@dataclass(frozen=True)
class Files(Encoded):
    """Source whose pictures are single files: `paths` relative to the folder `root`, in the order of their `ids`."""

    name: str
    root: str
    paths: tuple[str, ...] = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    labels: tuple[str | None, ...] = field(repr=False)

    def fingerprint(self) -> str:
        """SHA-256 over the id, size and modification time of every file; the location of the folder does not count."""
        return digest("files", ((one, stamp(self.place(sample))) for sample, one in enumerate(self.ids)))

    def place(self, sample: int) -> str:
        """Path of the picture's file."""
        return os.path.join(self.root, self.paths[sample])

    def content(self, sample: int) -> bytes:
        """Bytes of the picture's file."""
        return contents(self.place(sample), LARGEST, ImageError)


def folder(path: str | os.PathLike[str], name: str | None = None) -> Files:
    """Returns a source of all pictures in a folder, searched recursively; class folders give the labels.

    Refuses a folder without pictures.
    """
    root = os.path.abspath(os.fspath(path))
    return _files(name or os.path.basename(root) or root, root, [os.path.relpath(file, root) for file in find_images([root])])


def files(paths: Sequence[str | os.PathLike[str]]) -> Files:
    """Returns a source of the pictures in a list of files and folders, each once; ids are relative to their common folder.

    A missing file is kept in the list: a scan reports it as skipped. Addresses are refused.
    """
    given = [os.fspath(path) for path in paths]
    if not given:
        raise ImageError("an empty list holds no pictures; give some files, or a folder")
    for path in given:
        if is_address(path):
            raise ImageError(f"{shown(path)}: an address among files; download it first, and give the file")
    found = dict.fromkeys(map(os.path.abspath, find_images(given)))
    root = os.path.commonpath([os.path.dirname(file) for file in found])
    what = "1 file" if len(found) == 1 else f"{len(found)} files"
    return _files(what, root, [os.path.relpath(file, root) for file in found])


def _files(name: str, root: str, paths: Sequence[str]) -> Files:
    pairs = sorted((path_id(path), path) for path in paths)
    ids = tuple(one for one, _ in pairs)
    return Files(name, root, tuple(path for _, path in pairs), ids, folder_labels(ids))
