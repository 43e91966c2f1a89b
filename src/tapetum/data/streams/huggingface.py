"""Data sets of the Hugging Face Hub, or any that its `datasets` library reads: streamed in order, never unpacked to disk."""

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
from tapetum.types.refusals import imported

OPTIONS = ("config", "revision", "data_dir", "data_files", "limit", "image", "label")
_LABEL_NAMES = ("label", "labels", "fine_label", "class", "category", "cls")


@dataclass(frozen=True)
class HuggingFace(Encoded):
    """Source of the pictures of a data set: `ids` are numbers such as "00000012"; `version` changes with the content."""

    name: str
    version: str
    rows: DatasetRows | Stream = field(repr=False)
    ids: tuple[str, ...] = field(repr=False)
    image: str
    label: str | None
    names: tuple[str, ...] | None = field(repr=False)

    @property
    def labels(self) -> Labels:
        """Class names (ClassLabel column), or the texts or numbers of another column; the first access reads a whole stream."""
        return Labels(self.rows, self.label, self.names, len(self.ids))

    def fingerprint(self) -> str:
        """SHA-256 over the version (builder, configuration, commit or file times), the column and the number of pictures."""
        return digest("hf", [self.version, self.image, len(self.ids)])

    def content(self, sample: int) -> bytes:
        """Encoded bytes of the picture."""
        return _content(self.rows.row(sample)[self.image], self.place(sample))

    def place(self, sample: int) -> str:
        """Origin of a picture in words, for error messages."""
        return f"{self.name}, picture {self.ids[sample]}"


class Labels(Sequence[str | None]):
    """Label of each picture, read from the data set at the first access to any; counting them reads nothing."""

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
            return None  # ClassLabel marks unlabelled rows with -1
        return str(value) if self._names is None else self._names[value]


def from_text(text: str) -> HuggingFace:
    """Returns a source of the data set named by "hf:NAME", "hf:NAME:SPLIT" or "hf:NAME:SPLIT?limit=1000&config=...".

    The default split is the only one, or train. Options: config, revision, data_dir, data_files as in `datasets.load_dataset`;
    limit, to take only so many pictures from the start; image, label, the names of the columns (by default found by the types
    and names of the columns). The number of pictures is the published one; without it, a pass through the stream counts them.
    """
    name, split, options = _parsed(text)
    datasets = _library()
    files = {key: options[key] for key in ("revision", "data_dir", "data_files") if key in options}
    try:
        builder = datasets.load_dataset_builder(name, options.get("config"), **files)
        streams = builder.as_streaming_dataset()
    except Exception as error:  # of any kind: from the hub, the network, a file or a parser
        raise ImageError(f"{shown(text)}: cannot be opened ({shown(error)}); check the name and the network") from error
    chosen = _chosen_split(text, split, list(streams))
    published = (builder.info.splits or {}).get(chosen)
    files = getattr(builder.config, "data_files", None) or {}
    times = list(getattr(files.get(chosen, ()), "origin_metadata", ()))  # of each file: commit and path, or modification time
    version = repr((name, builder.config_id, builder.hash, chosen, times))
    number = published.num_examples if published else None
    return _source(f"{name}/{chosen}", streams[chosen], number, options, version)


def from_dataset(dataset: Any) -> HuggingFace:
    """Returns a source of a `datasets` object: reads a Dataset by index, an IterableDataset as a stream.

    A stream does not know its length or version, so one pass counts its pictures and hashes them.
    """
    if isinstance(dataset, dict):
        raise ImageError(f"several splits ({', '.join(map(str, dataset))}); give one of them")
    return _source(dataset.info.dataset_name or "dataset", dataset, None, {}, None)


def is_dataset(value: Any) -> bool:
    """Returns whether a value is a data set of the `datasets` library, without importing the library."""
    return type(value).__module__.partition(".")[0] == "datasets" and hasattr(value, "cast_column")


def _library() -> Any:
    return imported("datasets", "data sets of Hugging Face need the package datasets: pip install 'tapetum[hf]'", ImageError)


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
    image = _image_column(name, features, options.get("image"))
    label, names = _label_column(name, features, options.get("label"))
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
    """Chooses the label column, and returns its name and its class names (None without a ClassLabel), or None and None.

    The column is `wanted`, else the only or a usual ClassLabel column, else a column with a usual name.
    """
    if wanted is not None and wanted not in features:
        raise ImageError(f"{shown(name)}: no column {wanted}; its columns: {', '.join(features)}")
    classes = [column for column, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    usual = [column for column in _LABEL_NAMES if column in classes] or (classes if len(classes) == 1 else [])
    plain = [column for column in _LABEL_NAMES if getattr(features.get(column), "dtype", None) in ("string", "int64")]
    column = wanted or next(iter([*usual, *plain]), None)
    return column, tuple(features[column].names) if column in classes else None


def _told(dataset: Any, image: str) -> tuple[int, str]:
    """Counts the pictures of a stream and hashes all of them: their bytes, or path, size and time of their files."""
    number, version = 0, ""
    for row in passed(dataset):
        value = row[image] or {}
        parts = [value.get("bytes"), value.get("path"), stamp(value["path"]) if value.get("path") else None]
        number, version = number + 1, digest(version, parts)
    return number, version


def _content(value: Any, name: str) -> bytes:
    """Encoded bytes of the picture in a row, or of the file that the row names."""
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
    """Refuses a chained address (zip://a.png::/data/x.zip) whose last part is a local file but not a regular one."""
    ground = path.rpartition("::")[2]
    scheme = re.match(r"(file|local):(//)?", ground, re.IGNORECASE)
    if scheme or not is_address(ground):
        opened_image(ground[scheme.end() :] if scheme else ground).close()
