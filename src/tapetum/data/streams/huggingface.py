"""Data sets of the Hugging Face Hub, and any that `datasets` can read: streamed, in their own order, never unpacked to disk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from tapetum.data.sources import LARGEST, is_address, opened_image
from tapetum.data.streams.base import Encoded, digest, stamp
from tapetum.data.streams.rows import DatasetRows, Stream, passed
from tapetum.files import contents, shown
from tapetum.types import ImageError, TapetumError

OPTIONS = ("config", "revision", "data_dir", "data_files", "limit", "image", "label")
_LABEL_NAMES = ("label", "labels", "fine_label", "class", "category", "cls")


@dataclass(frozen=True)
class HuggingFace(Encoded):
    """Pictures of a data set by number: `ids` are "00000012"; `version` changes with the content."""

    name: str
    version: str
    rows: DatasetRows | Stream = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    image: str
    label: str | None
    names: tuple[str, ...] | None = field(repr=False)

    @property
    def labels(self) -> Labels:
        """Names of a ClassLabel column, or the text or number in another. The first lookup passes through a stream."""
        return Labels(self.rows, self.label, self.names, len(self.ids))

    def fingerprint(self) -> str:
        """SHA-256 over the version (builder, configuration, commit or times of files), column and number of pictures."""
        return digest("hf", [self.version, self.image, len(self.ids)])

    def content(self, sample: int) -> bytes:
        """Bytes of the picture's file."""
        return _content(self.rows.row(sample)[self.image], self.place(sample))

    def place(self, sample: int) -> str:
        """Place of a picture in words, for refusals."""
        return f"{self.name}, picture {self.ids[sample]}"


class Labels(Sequence[str | None]):
    """Labels per picture, looked up on access: merely checking that labels exist reads nothing."""

    def __init__(self, rows: DatasetRows | Stream, column: str | None, names: tuple[str, ...] | None, number: int) -> None:
        self._rows, self._column, self._names, self._number = rows, column, names, number

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, sample: Any) -> Any:
        return self._all[sample]

    @cached_property
    def _all(self) -> list[str | None]:
        values = self._rows.values(self._column, self._number) if self._column else [None] * self._number
        return [self._named(value) for value in values]

    def _named(self, value: Any) -> str | None:
        if value is None or (self._names is not None and not (isinstance(value, int) and 0 <= value < len(self._names))):
            return None  # ClassLabel's mark of unlabelled rows
        return str(value) if self._names is None else self._names[value]


def from_text(text: str) -> HuggingFace:
    """Streams the pictures of "hf:NAME", "hf:NAME:SPLIT" or "hf:NAME:SPLIT?limit=1000&config=...".

    The default split is the only one, or train. Options: config, revision, data_dir, data_files as `datasets.load_dataset` has
    them; limit, the first so many pictures; image, label, the columns (else those that the features tell).
    Their number is that published for the split; without one, a pass through the stream counts them.
    """
    name, split, options = _parsed(text)
    datasets = _library()
    files = {key: options[key] for key in ("revision", "data_dir", "data_files") if key in options}
    try:
        builder = datasets.load_dataset_builder(name, options.get("config"), **files)
        streams = builder.as_streaming_dataset()
    except Exception as error:  # of any kind: from the hub, the network, a file, a parser
        raise ImageError(f"{shown(text)}: cannot be opened ({shown(error)}); check the name and the network") from error
    chosen = _chosen_split(text, split, list(streams))
    published = (builder.info.splits or {}).get(chosen)
    files = getattr(builder.config, "data_files", None) or {}
    times = list(getattr(files.get(chosen, ()), "origin_metadata", ()))  # commit and path, or modification time
    version = repr((name, builder.config_id, builder.hash, chosen, times))
    number = published.num_examples if published else None
    return _source(f"{name}/{chosen}", streams[chosen], number, options, version)


def from_dataset(dataset: Any) -> HuggingFace:
    """Reads the pictures of a `datasets` object: a Dataset at any index; an IterableDataset as a stream.

    An open stream does not know its content, so one pass counts its pictures and computes their version.
    """
    if isinstance(dataset, dict):
        raise ImageError(f"several splits ({', '.join(map(str, dataset))}); give one of them")
    return _source(dataset.info.dataset_name or "dataset", dataset, None, {}, None)


def is_dataset(value: Any) -> bool:
    """Whether this is a data set of the `datasets` library, without importing it."""
    return type(value).__module__.partition(".")[0] == "datasets" and hasattr(value, "cast_column")


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ImageError("data sets of Hugging Face need the package datasets: pip install 'tapetum[hf]'") from error
    return datasets


def _parsed(text: str) -> tuple[str, str | None, dict[str, str]]:
    path, _, query = text.partition(":")[2].partition("?")
    name, _, split = path.partition(":")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not name:
        raise ImageError(f'"{shown(text)}" names no data set; give hf:NAME[:SPLIT], such as hf:cifar10:test')
    for option in options:
        if option not in OPTIONS:
            close = get_close_matches(option, OPTIONS, n=1)
            raise ImageError(f'"{shown(text)}": no option {option}{f", {close[0]}?" if close else ""} ({", ".join(OPTIONS)})')
    if not options.get("limit", "1").isdecimal() or options.get("limit") == "0":
        raise ImageError(f'"{shown(text)}": limit is a number of pictures, at least 1')
    return name, split or None, options


def _chosen_split(text: str, split: str | None, there: Sequence[str]) -> str:
    chosen = split or ("train" if "train" in there or len(there) != 1 else str(there[0]))
    if chosen not in there:
        what = "give a split" if split is None else f"no split {split}"
        raise ImageError(f'"{shown(text)}": {what}; there are: {", ".join(map(str, there))}')
    return chosen


def _source(name: str, dataset: Any, number: int | None, options: dict[str, str], version: str | None) -> HuggingFace:
    features = dataset.features or dataset._resolve_features().features
    image, (label, names) = (
        _image_column(name, features, options.get("image")),
        _label_column(name, features, options.get("label")),
    )
    undecoded = dataset.cast_column(image, _library().Image(decode=False)).select_columns([image, *([label] if label else [])])
    limit = int(options["limit"]) if "limit" in options else None
    if hasattr(dataset, "__len__"):
        rows, number, version = DatasetRows(undecoded), len(undecoded), str(dataset._fingerprint)
    else:
        rows = Stream(undecoded)
        if version is None:
            number, version = _told(undecoded, image)
        elif number is None:
            number = rows.counted(label or image, limit)
    number = min(number, limit or number)
    if not number:
        raise ImageError(f"{shown(name)}: no pictures in this split")
    return HuggingFace(name, version, rows, tuple(f"{sample:08d}" for sample in range(number)), image, label, names)


def _image_column(name: str, features: Any, wanted: str | None) -> str:
    found = [column for column, kind in features.items() if type(kind).__name__ == "Image"]
    if wanted is not None and wanted in found:
        return wanted
    usual = [column for column in ("image", "img", "jpg", "png", "picture") if column in found]
    if wanted is None and (usual or len(found) == 1):
        return (usual or found)[0]
    hint = f"give one with image=: {', '.join(found)}" if found else f"its columns: {', '.join(features)}"
    raise ImageError(f"{shown(name)}: {'no' if wanted or not found else 'no single'} column {wanted or 'of pictures'}; {hint}")


def _label_column(name: str, features: Any, wanted: str | None) -> tuple[str | None, tuple[str, ...] | None]:
    """Label column and its class names: the requested one, else the only or usual ClassLabel, else a usual name, or none."""
    if wanted is not None and wanted not in features:
        raise ImageError(f"{shown(name)}: no column {wanted}; its columns: {', '.join(features)}")
    classes = [column for column, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    usual = [column for column in _LABEL_NAMES if column in classes] or (classes if len(classes) == 1 else [])
    plain = [column for column in _LABEL_NAMES if getattr(features.get(column), "dtype", None) in ("string", "int64")]
    column = wanted or next(iter([*usual, *plain]), None)
    return column, tuple(features[column].names) if column in classes else None


def _told(dataset: Any, image: str) -> tuple[int, str]:
    """Number of pictures in a stream, and a digest over all: their bytes, or path, size and time of their files."""
    number, version = 0, ""
    for row in passed(dataset):
        value = row[image] or {}
        parts = [value.get("bytes"), value.get("path"), stamp(value["path"]) if value.get("path") else None]
        number, version = number + 1, digest(version, parts)
    return number, version


def _content(value: Any, name: str) -> bytes:
    """Bytes of the picture in the row, or of the file that the row names."""
    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (None, None)
    if data is not None:
        return data
    if path is None:
        raise ImageError(f"{shown(name)}: no picture in this row")
    if not is_address(path):
        return contents(path, LARGEST, ImageError)
    _check_ground(path)
    try:
        from datasets.utils.file_utils import xopen

        with xopen(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise TapetumError(f"{shown(name)}: cannot be fetched ({shown(error)}); start again to go on") from error
    if len(data) > LARGEST:
        raise ImageError(f"{shown(name)}: larger than {LARGEST / 1e6:g} MB, the most that is read")
    return data


def _check_ground(path: str) -> None:
    """Checks that an address such as zip://a.png::/data/x.zip that leads to a local file leads to a regular one."""
    ground = path.rpartition("::")[2]
    scheme = re.match(r"(file|local):(//)?", ground, re.IGNORECASE)
    if scheme or not is_address(ground):
        opened_image(ground[scheme.end() :] if scheme else ground).close()
