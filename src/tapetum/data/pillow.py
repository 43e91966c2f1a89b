"""Reads pictures with Pillow: allowed formats and sizes, orientation, and the meaning of modes."""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from tapetum.data.strips import Raster, as_tensor, upright
from tapetum.files import shown
from tapetum.switches import Switch, ignoring
from tapetum.types import ImageError

MAX_PIXELS = 64_000_000

MAX_SIDE = 100_000
"""Largest length in px of a picture's longer side, since whole rows are held in memory."""

# Raster formats whose files begin with a signature. Left out: EPS (starts Ghostscript), TGA (noise would pass as one).
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "QOI")
_ORIENTATION_TAG = 0x0112
_LOOKS_LIKE = {
    b"<svg": "an SVG drawing", b"<html": "a web page", b"<!doctype html": "a web page", b"%pdf": "a PDF",
    b"ftyphei": "a HEIC photograph", b"ftypmif1": "a HEIC photograph", b"pk\x03\x04": "a zip archive",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
}  # fmt: skip
_PIECE = 40_000_000
"""Bytes of each piece of a picture, which is freed after conversion: malloc returns blocks above 32 MB at once."""

_PNM, _PNM_HEADER, _PLAIN = re.compile(rb"P[1-7fF]\s"), 65_536, 8_000_000
"""Start of a PPM file, largest size in bytes of its header, and number of pixels if written as text, which takes seconds."""

_DECODERS = {"WEBP": 32_000_000, "AVIF": 32_000_000, "JPEG2000": 24_000_000}
_PROGRESSIVE, _TILE = 48_000_000, 270_000_000
"""Numbers of pixels for which decoders need 0.6 GB (measured: 16, 14, 23 and 11 bytes each), and bytes of a TIFF tile."""


@contextlib.contextmanager
def _strict() -> Iterator[None]:
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        with ignoring(module=r"PIL(\.|$)"):
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


strict_pillow = Switch(_strict)
"""Makes Pillow refuse truncated files and give no warnings while any picture is read."""


# --- files


def opened_picture(file: io.BufferedReader | io.BytesIO, name: str, most: int = MAX_PIXELS) -> Image.Image:
    """Opens a picture with Pillow and reads its header, but no pixels; error messages begin with `name`."""
    head = file.read(512)
    if not head:
        raise ImageError(f"{name}: empty (0 bytes left to read); give the whole file from its start")
    if _PNM.match(head):
        _check_words(head + file.read(_PNM_HEADER), name)
    try:
        image = Image.open(file, formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: more than {MAX_PIXELS / 1e6:g} million pixels; shrink it first") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: {_kind(head)}; give a picture such as JPEG or PNG") from error
    except Exception as error:  # format plugins raise whatever their parsers raise
        raise ImageError(f"{name}: cannot be decoded ({shown(error)}); the file is damaged, copy it again") from error
    check_size(*image.size, name, most)
    _check_decoder(image, name)
    return image


def _check_words(start: bytes, name: str) -> None:
    """Refuses a PPM file whose header is mostly comments: Pillow reads those byte by byte, without end."""
    if len(start) > _PNM_HEADER and len(re.sub(rb"#[^\r\n]*", b" ", start).split(None, 4)) < 4:
        raise ImageError(f"{name}: more than {_PNM_HEADER} bytes before its size; save it without remarks")


def _check_decoder(image: Image.Image, name: str) -> None:
    """Refuses pictures for whose format the decoder would need several times the memory of the pixels."""
    kind, limit = image.format or "", _DECODERS.get(image.format or "", MAX_PIXELS)
    if image.info.get("progressive"):
        kind, limit = "progressive JPEG", _PROGRESSIVE
    if image.format == "PPM" and any(tile[0] == "ppm_plain" for tile in getattr(image, "tile", ())):
        kind, limit = "PPM in words", _PLAIN
    if image.width * image.height > limit:
        raise ImageError(
            f"{name}: {image.width} x {image.height}, more than {limit / 1e6:g} million pixels, the most of a {kind} file; "
            "save it as PNG or plain JPEG, or shrink it"
        )
    if kind == "TIFF" and (size := _tile_of(image)) > _TILE:
        raise ImageError(f"{name}: a TIFF in pieces of {size / 1e6:.0f} MB; save it in smaller ones")


def _tile_of(image: Any) -> float:
    """Size in bytes of the part that a TIFF decoder reads at once, a tile or a strip of rows; infinite if unknown."""
    try:
        tags = image.tag_v2
        width, height = tags.get(322, image.width), tags.get(323, min(tags.get(278, image.height), image.height))
        return float(width * height * tags.get(277, 1) * max(tags.get(258, (1,))) / 8)
    except Exception:  # tags of unexpected types: the file cannot be decoded
        return math.inf


def check_size(width: int, height: int, name: str, most: int) -> None:
    """Refuses pictures of more than `most` pixels, or with a side that is too long."""
    if width * height > most:
        raise ImageError(f"{name}: {width} x {height}, more than {most / 1e6:g} million pixels; shrink it first")
    if max(width, height) > MAX_SIDE:
        raise ImageError(f"{name}: {width} x {height}, a side of more than {MAX_SIDE} pixels; cut it first")


def decoded(image: Image.Image, name: str) -> None:
    """Decodes the pixels of an opened picture; error messages begin with `name`."""
    try:
        image.load()
    except Exception as error:
        raise ImageError(f"{name}: cut off or damaged ({shown(error)}); copy or fetch it again") from error


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation of a picture, 1 to 8; 1 means upright."""
    try:
        return image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF: the pixels are still fine
        return 1


def _kind(head: bytes) -> str:
    for mark, kind in _LOOKS_LIKE.items():
        if mark in head.lower():
            return kind
    printable = head.decode("utf-8", "ignore").isprintable() or head.isascii()
    return "text, not an image" if printable and b"\0" not in head else "not an image in a known format"


# --- rasters


class Photograph(Raster):
    """Raster of a loaded PIL image; `ours` says that nothing else uses the image, so that it may be freed."""

    def __init__(self, image: Image.Image, name: str, ours: bool = False) -> None:
        self._image, self._name, self._ours = image, name, ours
        self._convert, c = _converter(image, name)
        super().__init__((c, image.height, image.width), self._values, orientation_of(image))

    def bands(self) -> list[Raster]:
        """Copies the pixels into pieces large enough for malloc to return each at once when freed; closes the image."""
        (c, height, width), item = self.shape, self.rows(0, 1).element_size()
        number = min(c * height * width * item // _PIECE, height)
        if not self._ours or number < 2:
            return [self]
        ends = [height * i // number for i in range(number + 1)]
        pieces = [self.rows(a, b) for a, b in pairwise(ends)]
        self._image.close()
        return [upright(piece) for piece in pieces]

    def _values(self, rows: slice, columns: slice) -> Tensor:
        try:
            values = self._convert(self._image.crop((columns.start, rows.start, columns.stop, rows.stop)))
        except Exception as error:
            raise _unreadable(self._image, self._name, error) from error
        return as_tensor(values[None] if values.ndim == 2 else values.transpose(2, 0, 1))


def _converter(image: Image.Image, name: str) -> tuple[Callable[[Image.Image], NDArray[Any]], int]:
    """Returns a function from a piece of the image to an array, and the number of channels.

    The arrays are (h, w) uint16 or float for grey, and (h, w, 3) or (h, w, 4) uint8 for colour.
    """
    if image.mode == "F":
        return np.asarray, 1
    if image.mode == "I" or image.mode.startswith("I;16"):
        if image.mode == "I" and image.width * image.height:
            _check_16_bits(image, name)
        see_through = image.info.get("transparency", -1)
        return lambda piece: _grey16(piece, see_through), 1
    if not image.has_transparency_data:
        return lambda piece: np.asarray(piece.convert("RGB")), 3
    if image.mode == "La":  # Pillow has no La -> RGBA
        return lambda piece: np.asarray(piece.convert("LA").convert("RGBA")), 4
    return lambda piece: np.asarray(piece.convert("RGBA")), 4


def _check_16_bits(image: Any, name: str) -> None:
    least, most = image.getextrema()
    if least < 0 or most > 65535:
        raise _unreadable(image, name, f"values from {least} to {most}, beyond 16 bits")


def _grey16(piece: Image.Image, see_through: Any) -> NDArray[Any]:
    values = np.array(piece).astype(np.uint16)
    values[values == see_through] = 65535  # the grey that the PNG file declares transparent becomes white
    return values


def _unreadable(image: Image.Image, name: str, why: object) -> ImageError:
    return ImageError(f"{name}: mode {image.mode} cannot be read ({shown(why)}); convert it to RGB")
