"""Prepares data for training: any source of pictures with classes, split into a training part and a held-out part."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from tapetum.data.images import read_image
from tapetum.data.streams import Source, as_source
from tapetum.data.streams.base import SPLITS, digest
from tapetum.types import ImageError

NO_CLASS = "it lies in no class folder"
HELD_OUT = frozenset({"val", "valid", "validation"})


@dataclass(frozen=True)
class Subset:
    """Some pictures of a source, with their classes as numbers, (n,)."""

    source: Source
    samples: tuple[int, ...]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.samples)

    def id(self, row: int) -> str:
        return self.source.ids[self.samples[row]]

    def read(self, row: int) -> Tensor:
        """Returns the pixels of a row's picture, (1, 3, H, W) in [0, 1]."""
        return self.source.read(self.samples[row])

    def fingerprint(self) -> str:
        """Returns a hash that changes with the pictures, their classes and the split."""
        return digest(self.source.fingerprint(), (self.samples, self.labels.tolist()))


@dataclass(frozen=True)
class Split:
    """A data set split into a training and a held-out part; class number i is `classes[i]` in both parts."""

    classes: tuple[str, ...]
    train: Subset
    validation: Subset
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def read_data(data: Any, validation: Any = 0.2, seed: int = 0) -> Split:
    """Splits a data set into a training part and a held-out part.

    Args:
        data: a folder of class folders (if it has train and val inside, those are the parts); what `tp.as_source` takes, if it
            has labels; (pixels (n, 3, h, w) as uint8 or floats in [0, 1], labels); a torch Dataset of (picture, label).
        validation: the share of each class that is held out, drawn by `seed`, or a separate data set.
        seed: random seed of that draw.
    """
    source = labelled(data)
    classes = class_names(source)
    rows = [sample for sample, label in enumerate(source.labels) if label is not None]
    skipped = tuple((source.ids[i], NO_CLASS) for i, label in enumerate(source.labels) if label is None)
    if not isinstance(validation, float | int):
        other = labelled(validation)
        held = [sample for sample, label in enumerate(other.labels) if label is not None]
        return Split(classes, part(source, rows, classes), part(other, held, classes), skipped)
    if not 0 < validation < 1:
        raise ImageError(f"validation is a share between 0 and 1, or a data set of its own, not {validation}")
    train, held, notes = _cut(source, rows, float(validation), seed)
    if not held or not train:
        raise ImageError(f"{source.name}: too few pictures to hold some out; give at least two of a class")
    return Split(classes, part(source, train, classes), part(source, held, classes), skipped, notes)


def part(source: Source, samples: Sequence[int], classes: Sequence[str]) -> Subset:
    """Returns the given samples of a source as a subset; refuses classes that are not among those given."""
    number = {name: i for i, name in enumerate(classes)}
    strange = sorted({label for label in (source.labels[sample] for sample in samples) if label not in number}, key=str)
    if strange:
        raise ImageError(f"{source.name} has a class {strange[0]!r} that is not among {', '.join(classes[:8])}")
    labels = [number[cast("str", source.labels[sample])] for sample in samples]
    return Subset(source, tuple(samples), torch.tensor(labels, dtype=torch.long))


def class_names(source: Source) -> tuple[str, ...]:
    """Returns the classes of a source, in its own order if it has one, else sorted; refuses fewer than two."""
    found = {label for label in source.labels if label is not None}
    if len(found) < 2:
        what = "no classes" if not found else f"one class, {next(iter(found))}"
        raise ImageError(f"{source.name} has {what}: give a folder with one folder a class, two at least")
    own: Sequence[str] | None = getattr(source, "classes", None)
    return tuple(own) if own is not None and found <= set(own) else tuple(sorted(found))


# --- the cut


def _cut(source: Source, rows: Sequence[int], share: float, seed: int) -> tuple[list[int], list[int], tuple[str, ...]]:
    """Splits rows into training rows, held-out rows and notes: by the folders train and val if both exist, else by a draw."""
    paths = {row: source.ids[row].lower().split("/")[:-1] for row in rows}
    folders = {row: next((folder for folder in path if folder in SPLITS), None) for row, path in paths.items()}
    wanted = HELD_OUT if HELD_OUT & set(folders.values()) else frozenset({"test"})
    train = [row for row in rows if folders[row] in ("train", "training")]
    held = [row for row in rows if folders[row] in wanted]
    if train and held:
        left = len(rows) - len(train) - len(held)
        return train, held, (f"{left} pictures outside train and {'/'.join(sorted(wanted))} are left alone",) if left else ()
    return *_drawn(source, rows, share, seed), ()


def _drawn(source: Source, rows: Sequence[int], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Holds out a share of each class by a draw of its own, so that a change in one class does not affect the others."""
    by_class: dict[str, list[int]] = {}
    for row in rows:
        by_class.setdefault(cast("str", source.labels[row]), []).append(row)
    held: set[int] = set()
    for label, members in by_class.items():
        order = torch.randperm(len(members), generator=seeded(seed, "held out", label)).tolist()
        held.update(members[i] for i in order[: max(1, round(share * len(members)))] if len(members) > 1)
    return [row for row in rows if row not in held], [row for row in rows if row in held]


def seeded(*key: object) -> torch.Generator:
    """Returns a random generator whose numbers depend on the key alone, such as (seed, purpose, epoch)."""
    return torch.Generator().manual_seed(seed_of(*key))


def seed_of(*key: object) -> int:
    """Returns a number in [0, 2**63) that depends on the key alone."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest()) >> 1


# --- what may be given


def labelled(data: Any) -> Source:
    """Converts data to a source: a pair (pixels, labels), a torch Dataset, or anything that `as_source` takes."""
    if isinstance(data, tuple) and len(data) == 2 and isinstance(data[0], Tensor):
        return _from_pair(*data)
    if isinstance(data, IterableDataset):
        raise ImageError("an IterableDataset has no numbered pictures; give a map-style Dataset, or a folder")
    if isinstance(data, Dataset) and not isinstance(data, Source):
        return _from_dataset(cast("Any", data))
    return as_source(data)


@dataclass(frozen=True)
class Listed:
    """Data source that reads pictures by calling a function with their number."""

    name: str
    ids: tuple[str, ...] = field(repr=False)
    labels: tuple[str | None, ...] = field(repr=False)
    classes: tuple[str, ...]
    reader: Callable[[int], Any] = field(repr=False)
    print: Callable[[], str] = field(repr=False)

    def fingerprint(self) -> str:
        """Returns a hash that changes with the pictures or labels, as far as the data show such changes."""
        return digest(self.print(), (self.ids, self.labels))

    def read(self, sample: int) -> Tensor:
        """Returns the pixels of a picture, (1, 3, H, W) float32 in [0, 1]."""
        return read_image(self.reader(sample))


def _from_pair(pixels: Tensor, labels: Any) -> Listed:
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3):
        raise ImageError(f"pixels to train on are (n, 3, h, w) in [0, 1] or uint8, not {tuple(pixels.shape)}")
    given = labels.tolist() if isinstance(labels, Tensor) else list(labels)
    if len(given) != len(pixels):
        raise ImageError(f"{len(pixels)} pictures and {len(given)} labels: give one label a picture")
    names, classes = _named(given, None)
    plain = pixels.detach().cpu()
    return Listed("pixels", _numbered(len(plain)), names, classes, lambda i: plain[i], lambda: _hash(plain))


def _from_dataset(data: Any) -> Listed:
    n = len(data)
    given = getattr(data, "targets", None)
    given = [data[i][1] for i in range(n)] if given is None else given
    names, classes = _named(given.tolist() if isinstance(given, Tensor) else list(given), getattr(data, "classes", None))
    name = type(data).__name__
    return Listed(name, _numbered(n), names, classes, lambda i: data[i][0], lambda: name)


def _named(labels: Sequence[Any], classes: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns labels as names, and the names of all classes; a label that is a number is the index of its class."""
    if all(isinstance(label, str) for label in labels):
        return tuple(labels), tuple(sorted(set(labels)))
    numbers = [int(label) for label in labels]
    if numbers and min(numbers) < 0:
        raise ImageError(f"a class has the number {min(numbers)}; classes count from 0")
    named = isinstance(classes, Sequence) and len(classes) > max(numbers, default=0)
    all_classes = tuple(map(str, classes)) if named else tuple(map(str, range(max(numbers, default=-1) + 1)))
    return tuple(all_classes[number] for number in numbers), all_classes


def _numbered(n: int) -> tuple[str, ...]:
    return tuple(f"{i:0{len(str(n))}d}" for i in range(n))


def _hash(pixels: Tensor) -> str:
    values = pixels.contiguous().flatten().view(torch.uint8).numpy().data
    return hashlib.sha256(f"{tuple(pixels.shape)} {pixels.dtype}".encode() + hashlib.sha256(values).digest()).hexdigest()
