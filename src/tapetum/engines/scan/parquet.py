"""Stores finished shards as Parquet files at any URL that fsspec can open: in a bucket, or on a disk (extra `scale`).

Each shard is one file of rows (layer, tracker, name, dtype, shape, bytes), of which the first is a line of JSON about the
shard, with a checksum over all rows. pandas, DuckDB and Spark can read it; the numbers are those of a `FolderLedger`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tapetum.engines.scan.ledger import DTYPES, PLAN, plan_read, plan_text, result_of, shard_rows
from tapetum.engines.scan.shards import ShardResult
from tapetum.files import may_unpack
from tapetum.keeping.keyed import Key
from tapetum.keeping.places import GOES_ON
from tapetum.keeping.whole import LEFTOVER, hidden_name, write_whole
from tapetum.types import DamagedError, TapetumError
from tapetum.types.refusals import imported

MISSING = "shards at a URL need pyarrow and fsspec: pip install 'tapetum[scale]'"

COLUMNS = ("layer", "tracker", "name", "dtype", "shape", "bytes")
ABOUT = ("", -1, "about")
MOST_ROWS = 100_000
"""Largest number of rows of a file; a tracker has about ten tables per layer."""

LARGEST = 1_900_000_000
"""Largest size in bytes of a file, since it is read into memory as a whole."""

WHOLE_PUTS = {"memory", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "r2", "hf"}
"""Protocols of stores where objects appear only when complete; elsewhere a file is written under another name and renamed."""


class ParquetLedger:
    """A ledger of Parquet files below a URL such as "s3://bucket/scan", "file:///data/scan" or "memory://scan".

    options  arguments for the file system of the URL, such as credentials or an endpoint; they are pickled with the job, so
             credentials are safer in environment variables
    """

    def __init__(self, url: str, **options: Any) -> None:
        self.url, self.options = url.rstrip("/"), options
        self.key = ""
        self._connected()

    def open(self, key: Key, *, resume: bool) -> None:
        self.key = key.hash
        files, place = self._connected()
        earlier = self._earlier(files, place)
        if resume and earlier is not None and earlier.get("key") != key.hash:
            raise TapetumError(key.refusal(self.url, "scan", earlier["facts"]))
        with self._reached("written"):
            files.makedirs(posixpath.join(place, "shards"), exist_ok=True)
            for path in self._paths(place) + self._paths(posixpath.join(place, "shards")):
                name = posixpath.basename(path)
                if LEFTOVER.fullmatch(name) or (name.endswith(".parquet") and not resume):
                    files.rm_file(path)
            self._put(PLAN, plan_text(key))

    def done(self) -> set[int]:
        place = self._connected()[1]
        found = (posixpath.splitext(posixpath.basename(path)) for path in self._paths(posixpath.join(place, "shards")))
        return {int(stem) for stem, kind in found if kind == ".parquet" and stem.isdecimal()}

    def write(self, result: ShardResult) -> None:
        with self._reached("written"):
            self._put(self._name(result.shard), as_parquet(result, self.key))

    def read(self, shard: int) -> ShardResult:
        files, place = self._connected()
        name = self._name(shard)
        with self._reached("read"):
            data = _file(files, posixpath.join(place, name), f"{self.url}/{name}")
        return from_parquet(data, f"{self.url}/{name}", self.key)

    def forget(self, shard: int) -> None:
        files, place = self._connected()
        path = posixpath.join(place, self._name(shard))
        with self._reached("written"), contextlib.suppress(FileNotFoundError):
            if files.isdir(path):
                files.rm(path, recursive=True)
            else:
                files.rm_file(path)

    # --- the file system

    def _name(self, shard: int) -> str:
        return f"shards/{shard:06d}.parquet"

    def _paths(self, folder: str) -> list[str]:
        files, _ = self._connected()
        with self._reached("listed"), contextlib.suppress(FileNotFoundError):
            files.invalidate_cache()  # other processes write here as well
            return list(files.ls(folder, detail=False))
        return []

    def _earlier(self, files: Any, place: str) -> dict[str, Any] | None:
        with self._reached("read"), contextlib.suppress(DamagedError):
            return plan_read(_file(files, posixpath.join(place, PLAN), f"{self.url}/{PLAN}"))
        return None

    def _put(self, name: str, data: bytes) -> None:
        """Writes a file so that it appears complete under its name, or not at all."""
        files, place = self._connected()
        path = posixpath.join(place, name)
        protocols = {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)
        if "file" in protocols:
            write_whole(Path(path), data)
        elif protocols & WHOLE_PUTS:
            files.pipe_file(path, data)
        else:
            part = posixpath.join(posixpath.dirname(path), hidden_name())
            files.pipe_file(part, data)
            files.mv(part, path)

    def _connected(self) -> tuple[Any, str]:
        """Returns the file system and the path in it; fast, since fsspec keeps connections."""
        core = imported("fsspec.core", MISSING)
        imported("pyarrow.parquet", MISSING)
        try:
            return core.url_to_fs(self.url, **self.options)
        except ImportError as error:
            raise TapetumError(f"{self.url} needs a package that is missing: {error}") from error
        except ValueError as error:
            raise TapetumError(f"{self.url} cannot be understood ({error}); give s3://, gs://, file:// or a folder") from error

    @contextlib.contextmanager
    def _reached(self, what: str) -> Iterator[None]:
        """Turns a store's error inside the block into a one-line `TapetumError`; a `FileNotFoundError` passes unchanged."""
        try:
            yield
        except (FileNotFoundError, TapetumError):
            raise
        except Exception as error:  # every store has errors of its own
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
            raise TapetumError(f"{self.url} cannot be {what} ({reason}); {GOES_ON}") from error


def _file(files: Any, path: str, name: str) -> bytes:
    """Returns the bytes of a regular file; refuses links, pipes and other special files, and files larger than `LARGEST`."""
    try:
        about = files.info(path)
        if about.get("islink") or about.get("type") != "file" or (about.get("size") or 0) > LARGEST:
            raise DamagedError(f"{name} is damaged: no file, or more than {LARGEST / 1e9:g} GB")
        return files.cat_file(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP) or isinstance(error, FileNotFoundError):  # some stores set no errno
            raise DamagedError(f"{name} is not there") from error
        raise


def as_parquet(result: ShardResult, key: str) -> bytes:
    arrow, parquet = imported("pyarrow", MISSING), imported("pyarrow.parquet", MISSING)
    about, arrays = shard_rows(result, key)
    line = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    rows = [_row(*ABOUT, line), *(_row(*row) for row in arrays)]
    columns = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    schema = _schema(arrow).with_metadata({"sha256": _digest(rows)})
    buffer = io.BytesIO()
    parquet.write_table(arrow.table(columns, schema=schema), buffer, compression="zstd", use_dictionary=False)
    return buffer.getvalue()


def _schema(arrow: Any) -> Any:
    types = (arrow.string(), arrow.int32(), arrow.string(), arrow.string(), arrow.list_(arrow.int64()), arrow.large_binary())
    return arrow.schema(list(zip(COLUMNS, types, strict=True)))


def _row(layer: str, tracker: int, name: str, array: NDArray[Any]) -> tuple[Any, ...]:
    return layer, tracker, name, array.dtype.str, list(array.shape), array.tobytes()


def _digest(rows: list[tuple[Any, ...]]) -> str:
    whole = hashlib.sha256()
    for *names, data in rows:
        whole.update(repr(names).encode())
        whole.update(data)
    return whole.hexdigest()


def from_parquet(data: bytes, place: str, key: str) -> ShardResult:
    try:
        rows = _rows(data)
        about, *states = [(layer, tracker, name, _array(*rest)) for layer, tracker, name, *rest in rows]
    except Exception as error:  # whatever a decoder makes of damaged bytes
        raise DamagedError(f"{place} is damaged ({type(error).__name__})") from error
    return result_of(about[-1].tobytes(), states, place, key)


def _rows(data: bytes) -> list[tuple[Any, ...]]:
    """Reads the rows one at a time; refuses files that unpack to too many rows or bytes before they fill the memory."""
    file = imported("pyarrow.parquet", MISSING).ParquetFile(io.BytesIO(data))
    known, about = file.schema_arrow, file.metadata
    if not known.equals(_schema(imported("pyarrow", MISSING))):
        raise ValueError("other columns")
    sizes = [about.row_group(i).total_byte_size for i in range(about.num_row_groups)]
    if about.num_rows > MOST_ROWS or not may_unpack(sum(map(abs, sizes)), len(data)):
        raise ValueError("more rows or bytes than a shard has")
    rows: list[tuple[Any, ...]] = []
    n_bytes = 0
    for batch in file.iter_batches(batch_size=1):
        n_bytes += batch.nbytes
        if len(rows) >= MOST_ROWS or not may_unpack(n_bytes, len(data)):
            raise ValueError("more rows or bytes than a shard has")
        rows += [tuple(row[name] for name in COLUMNS) for row in batch.to_pylist()]
    if _digest(rows) != (known.metadata or {})[b"sha256"].decode() or rows[0][:3] != ABOUT:
        raise ValueError("another checksum")
    return rows


def _array(dtype: str, shape: list[int], data: bytes) -> NDArray[Any]:
    if dtype not in DTYPES or min(shape, default=0) < 0 or math.prod(shape) * np.dtype(dtype).itemsize != len(data):
        raise ValueError("a shape that does not fit")
    return np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape).copy()  # torch needs writable memory
