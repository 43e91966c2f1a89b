"""Protocol for sources of pictures for scans: numbered pictures with names, labels and a fingerprint."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from tapetum.data.decoding import strips_in
from tapetum.data.labels import imagenet_labels
from tapetum.data.preprocessing import Preprocessing
from tapetum.data.strips import Strips
from tapetum.files import shown
from tapetum.types import ImageError

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test"})
"""Folder names of splits: never a class."""

_NAMED_BY_WNID = re.compile(r"(n\d{8})_(\D+)\.\w+")  # n01440764_tench.JPEG, but not n01440764_10026.JPEG


@runtime_checkable
class Source(Protocol):
    """Pictures numbered 0 to n - 1: each has the name `ids[sample]` (sorted, no name twice) and perhaps a label.

    Sources do not change after they are made; they can be pickled, and several threads may call `read` at once.
    """

    @property
    def name(self) -> str:
        """Name of the source for people, such as "photos" or "imagenette-320/train"."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """Name of each sample, sorted, with / between folders; len(ids) is the number of samples."""
        ...

    @property
    def labels(self) -> Sequence[str | None]:
        """Class name of each sample, None where unknown."""
        ...

    def fingerprint(self) -> str:
        """SHA-256 in hex over names, and sizes and modification times of files; it changes when the data change."""
        ...

    def read(self, sample: int) -> Tensor:
        """Pixels (1, 3, H, W) of a sample, float32 in [0, 1], as from `read_image`; an `ImageError` if it is not a picture."""
        ...


class Encoded(ABC):
    """Base of sources that hold encoded pictures: decodes their bytes."""

    @abstractmethod
    def content(self, sample: int) -> bytes:
        """Encoded bytes of a picture, such as those of its JPEG file."""

    @abstractmethod
    def place(self, sample: int) -> str:
        """Origin of a picture in words, for error messages."""

    def read(self, sample: int) -> Tensor:
        """Pixels (1, 3, H, W) of a sample, float32 in [0, 1]."""
        with self.opened(sample) as strips:
            return strips.whole()

    def opened(self, sample: int) -> contextlib.AbstractContextManager[Strips]:
        """Opens a sample for a `with` block without converting it to floats; `read` converts all of it."""
        return strips_in(self.content(sample), shown(self.place(sample)))


@contextlib.contextmanager
def picture_of(source: Source, sample: int, how: Preprocessing) -> Iterator[Tensor | Strips]:
    """Opens a sample for a `with` block, ready for the preprocessing `how`; large pictures become floats only where needed.

    Raw values and bands beyond colour are read from the sample's file, since `Source.read` returns colours.
    """
    if how.range is None and how.channels in (1, 3):
        own = opener(source)
        with contextlib.nullcontext(source.read(sample)) if own is None else own(sample) as pixels:
            yield pixels
        return
    content = getattr(source, "content", None)
    if content is None:
        what = "raw values" if how.range is not None else f"{how.channels} bands"
        raise ImageError(f"{source.name} gives colours in [0, 1], and this model takes {what}: give a folder of files")
    with how.opened(content(sample)) as strips:
        yield strips


def read_images(source: Source, samples: Iterable[int], how: Preprocessing) -> tuple[Tensor, list[int], dict[int, str]]:
    """Returns the readable ones of some samples as images (n, c, h, w), which these are, and why others are left out."""
    images, readable, refused = [], [], {}
    for sample in samples:
        try:
            with picture_of(source, sample, how) as pixels:
                images.append(how(pixels))
        except ImageError as error:
            refused[sample] = str(error)
        else:
            readable.append(sample)
    return torch.cat(images) if images else torch.zeros(0), readable, refused


def opener(source: Source) -> Callable[[int], contextlib.AbstractContextManager[Strips]] | None:
    """Returns the source's `opened` method, or None.

    A subclass that overrides `read` alone gets None, so that its `read` is used.
    """
    home = next((kind for kind in type(source).__mro__ if "read" in vars(kind)), None)
    return getattr(source, "opened", None) if home is not None and "opened" in vars(home) else None


def digest(name: str, parts: Iterable[object]) -> str:
    """SHA-256 over a name and a list of parts, each on a line of its own, so that different lists give different hashes."""
    whole = hashlib.sha256(name.encode())
    for part in parts:
        whole.update(b"\n" + repr(part).encode("utf-8", "backslashreplace"))
    return whole.hexdigest()


def stamp(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Size of a file in bytes and its modification time in ns; None if there is no such file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def path_id(path: str) -> str:
    """Id of a relative path: / between folders; bytes that are not UTF-8 become \\xff, so that any text file can hold it."""
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace(os.sep, "/")


def folder_labels(ids: Sequence[str]) -> tuple[str | None, ...]:
    """Class of each picture: the first folder of its path, if there are class folders (as in torchvision's ImageFolder).

    A folder that holds everything (images/cat/1.jpg) and folders of splits (train/cat/1.jpg) are skipped, if no picture
    lies in them directly. ImageNet's folder names (n02123045) become class names. Without folders, a picture that
    is called n02123045_tabby.JPEG is a tabby; others have no label.
    """
    parts = [one.split("/") for one in ids]
    depth = 0
    while _passed_by([part[depth:] for part in parts]):
        depth += 1
    if all(len(part) == depth + 1 for part in parts):
        named = (_NAMED_BY_WNID.fullmatch(part[-1]) for part in parts)
        return tuple(_imagenet_names().get(found[1], found[2].replace("_", " ")) if found else None for found in named)
    return tuple(class_of_folder(part[depth]) if len(part) > depth + 1 else None for part in parts)


def _passed_by(parts: Sequence[Sequence[str]]) -> bool:
    """Returns whether the first folder of all paths is not a class: a split ("train"), or one folder around everything."""
    if not parts or any(len(part) < 2 for part in parts):
        return False
    folders = {part[0] for part in parts}
    if all(folder.lower() in SPLITS for folder in folders):
        return True
    return len(folders) == 1 and all(len(part) > 2 for part in parts)


def is_wordnet_id(name: str) -> bool:
    """Returns whether a name has the form of ImageNet's class ids, such as n01440764."""
    return re.fullmatch(r"n\d{8}", name) is not None


def class_of_folder(folder: str) -> str:
    """Class name of a folder: "tench" for the WordNet id n01440764 of ImageNet-1k, else the folder's own name."""
    return _imagenet_names().get(folder, folder) if is_wordnet_id(folder) else folder


@cache
def _imagenet_names() -> dict[str, str]:
    """Class names of ImageNet-1k by WordNet id."""
    try:
        from timm.data.imagenet_info import ImageNetInfo
    except ImportError:
        return {}
    return dict(zip(ImageNetInfo("imagenet-1k").label_names(), imagenet_labels(), strict=True))
