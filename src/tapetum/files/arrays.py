"""Reads .npy and .npz files by numpy's documented format, and checks every size before memory is allocated.

numpy's own reader trusts headers: a shape of 10^12, an encrypted archive or a strange dtype ends in an unclear error, or uses
up the memory.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tapetum.files.opening import opened
from tapetum.files.words import shown
from tapetum.types import DamagedError, TapetumError

ROOM, RATIO = 512_000_000, 20
"""An archive may unpack to ROOM bytes plus RATIO times its own size. Maps hardly compress, counts are mostly zeros."""

KINDS = "biufcUS"
"""Allowed kinds of dtypes: booleans, numbers and texts of a fixed length; no objects, records or dates."""

HEADER = 10_000
"""Largest size in bytes of a .npy header, as in numpy."""


def arrays_in(source: str | os.PathLike[str] | bytes, name: str | None = None) -> dict[str, NDArray[Any]]:
    """Returns {name: array} of a .npz file or of its bytes.

    Raises a `DamagedError`, which begins with `name`, if any part of it is damaged.
    """
    said = name or ("the bytes" if isinstance(source, bytes) else shown(source))
    with io.BytesIO(source) if isinstance(source, bytes) else opened(source) as file, _damaged(said):
        size = file.seek(0, os.SEEK_END)
        with zipfile.ZipFile(file) as archive:
            members = _members(archive, size)
            return {info.filename.removesuffix(".npy"): _member(archive, info) for info in members}


def array_in(
    file: io.BufferedIOBase, size: int, name: str, most: int, refusal: type[TapetumError] = DamagedError
) -> NDArray[Any]:
    """Reads the array of a .npy file of `size` bytes, open at its start; refuses more than `most` bytes before reading any."""
    with _damaged(name, refusal):
        return _read(file, size, most)


def mapped_in(path: str | os.PathLike[str], kinds: str = "f") -> NDArray[Any]:
    """Memory-maps the array of a .npy file; refuses one of a size other than its header says, or a dtype not in `kinds`."""
    with opened(path) as file, _damaged(shown(path)):
        size = os.fstat(file.fileno()).st_size
        found = _layout(file, size)
        if found.dtype.kind not in kinds or size - found.start != found.n_bytes or 0 in found.shape:
            raise _WrongArray(f"an array of {shown(found.dtype)} and of shape {shown(found.shape)} is not what it holds")
        return np.memmap(file, found.dtype, "r", found.start, found.shape, "F" if found.in_columns else "C")


class Layout(NamedTuple):
    """Header of a .npy file, whose array begins at byte `start`; `in_columns` means that the first axis runs fastest."""

    shape: tuple[int, ...]
    in_columns: bool
    dtype: np.dtype[Any]
    start: int

    @property
    def n_bytes(self) -> int:
        """Size of the array in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def layout_of(file: io.BufferedIOBase, size: int, name: str, refusal: type[TapetumError] = DamagedError) -> Layout:
    """Reads the header of a .npy file of `size` bytes, open at its start; refuses a file that is cut off."""
    with _damaged(name, refusal):
        return _layout(file, size)


def some_of(
    file: io.BufferedIOBase, places: Sequence[int], shape: tuple[int, ...], dtype: np.dtype[Any], name: str,
    refusal: type[TapetumError] = DamagedError,
) -> NDArray[Any]:  # fmt: skip
    """Reads n pieces of one shape that begin at the bytes `places` of a file; returns them as (n, *shape), in C order."""
    with _damaged(name, refusal):
        array = np.empty((len(places), *shape), dtype)
        for one, place in zip(_bytes_of(array).reshape(len(places), -1), places, strict=True):
            file.seek(place)
            _fill(file, one)
        _check_values(array)
        return array


class _WrongArray(Exception):
    """Raised for an array with something wrong, which the message names."""


def may_unpack(n_bytes: int, size: int) -> bool:
    """Returns whether an archive of `size` bytes may unpack to `n_bytes`; larger arrays must be stored uncompressed."""
    return n_bytes <= ROOM + RATIO * size


def _members(archive: zipfile.ZipFile, size: int) -> list[zipfile.ZipInfo]:
    infos = archive.infolist()
    if len({info.filename for info in infos}) < len(infos):
        raise _WrongArray("two arrays of one name")
    for info in infos:
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _WrongArray(f"{info.filename} is encrypted, or packed in a way that numpy does not write")
        if not info.filename.endswith(".npy"):
            raise _WrongArray(f"{info.filename} in it is no array")
    if not may_unpack(sum(info.file_size for info in infos) - HEADER * len(infos), size):
        raise _WrongArray(f"it would unpack to more than {(ROOM + RATIO * size) / 1e6:.0f} MB")
    return infos


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as file:
        array = _read(cast("io.BufferedIOBase", file), info.file_size, info.file_size)
        if file.read(1):  # reading to the end also makes zipfile compare the checksum
            raise _WrongArray(f"{info.filename} is longer than its array")
    return array


def _read(file: io.BufferedIOBase, size: int, most: int) -> NDArray[Any]:
    found = _layout(file, size)
    if found.n_bytes > most:
        raise _WrongArray(f"an array of shape {shown(found.shape)}, more than {most / 1e6:.0f} MB")
    array = np.empty(found.shape, found.dtype, order="F" if found.in_columns else "C")
    _fill(file, _bytes_of(array))
    _check_values(array)
    return array


def _layout(file: io.BufferedIOBase, size: int) -> Layout:
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise _WrongArray(f"a file of numpy's version {version[0]}.{version[1]}")
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, in_columns, dtype = header(file, max_header_size=HEADER)
    if dtype.kind not in KINDS or dtype.itemsize == 0:
        raise _WrongArray(f"an array of {shown(dtype)}")
    if any(isinstance(side, bool) or side < 0 for side in shape):
        raise _WrongArray(f"an array of shape {shown(shape)}")
    found = Layout(shape, in_columns, dtype, file.tell())
    if found.n_bytes > size - len(npy.MAGIC_PREFIX):
        raise _WrongArray(f"it is cut off: an array of shape {shown(shape)} does not fit into it")
    return found


def _bytes_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns the bytes of a new array, in memory order, as a view."""
    if not array.size:
        return np.empty(0, np.uint8)
    return (array if array.flags.c_contiguous else array.T).reshape(-1).view(np.uint8)


def _fill(file: io.BufferedIOBase, flat: NDArray[np.uint8]) -> None:
    place = memoryview(flat)  # pyright: ignore[reportArgumentType] (numpy's types do not say that arrays are buffers)
    while len(place):
        got = file.readinto(place[: 1 << 22])
        if not got:
            raise _WrongArray("it is cut off")
        place = place[got:]


def _check_values(array: NDArray[Any]) -> None:
    """Refuses booleans other than 0 and 1 and invalid text; for numbers, every pattern of bytes is valid."""
    flat, kind = _bytes_of(array), array.dtype.kind
    if kind == "b" and flat.size and int(flat.max()) > 1:
        raise _WrongArray("a truth value that is neither true nor false")
    if kind == "U" and flat.size and int(flat.view(array.dtype.str[0] + "u4").max(initial=0)) > 0x10FFFF:
        raise _WrongArray("a text that is none")


@contextmanager
def _damaged(name: str, refusal: type[TapetumError] = DamagedError) -> Generator[None]:
    """Turns the errors of zipfile, zlib and numpy's header parser into a `refusal` that begins with `name`."""
    try:
        yield
    except Exception as error:
        unreadable = f"no arrays can be read ({type(error).__name__}: {shown(error)[:80]})"
        raise refusal(f"{name} is damaged: {shown(error) if isinstance(error, _WrongArray) else unreadable}") from error
