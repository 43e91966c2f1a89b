"""Pictures in and out: whatever a user calls an image becomes pixels (1, 3, H, W) in [0, 1], or one line says why not.

Reading ends in one chain whatever the source: bytes -> `decoded` -> `_from_pil` -> `from_array` -> `from_tensor` (planes.py).
"""

from __future__ import annotations

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from tapetum.appearing import appearing
from tapetum.data.planes import Span, from_array, from_tensor, planes_of
from tapetum.data.sources import fetched, is_address, opened
from tapetum.files import shown
from tapetum.types import ImageError

MAX_PIXELS = 64_000_000

# Rasters with a signature. Left out on purpose: EPS (starts Ghostscript), TGA (no signature, so noise would pass).
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "QOI")
_NUMPY = b"\x93NUMPY"  # how a .npy file begins
_ORIENTATION_TAG = 0x0112
# EXIF orientation: exchange rows and columns first?, then flip these axes (TIFF 6.0 specification, tag 274)
_UPRIGHT = {2: (False, [-1]), 3: (False, [-2, -1]), 4: (False, [-2]), 5: (True, []), 6: (True, [-1]),
            7: (True, [-2, -1]), 8: (True, [-2])}  # fmt: skip
_LOOKS_LIKE = {
    b"<svg": "an SVG drawing", b"<html": "a web page", b"<!doctype html": "a web page", b"%pdf": "a PDF",
    b"ftyphei": "a HEIC photograph", b"ftypmif1": "a HEIC photograph", b"pk\x03\x04": "a zip archive",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
}  # fmt: skip


def read_image(source: Any) -> Tensor:
    """The picture as pixels (1, 3, H, W), float32 in [0, 1]; an `ImageError` says what is wrong and what would work.

    source: a path, an http(s) address, bytes, a binary file object, a PIL image, a numpy array (H, W[, 1 | 3 | 4]) or with
    its channels first, a tensor (H, W), (1 | 3 | 4, H, W) or with its channels last, or that with a leading 1; a .npy file
    is an array. Arrays and tensors: uint8, uint16, bool, or float in [0, 1]; tensors keep their device. Transparency is
    composited over white. EXIF orientation is applied, ICC profiles are ignored. An animation gives its first frame (a PIL
    image: its current one). Grey keeps 16 bits; color has 8.
    """
    return picture(source).to(torch.float32)


def picture(source: Any, channels: int = 3, span: Span | None = None, most: int = MAX_PIXELS) -> Tensor:
    """What `read_image` takes, for a network of that many channels: (1, 3, H, W), or (1, channels, H, W) beyond colour.

    span: the raw values of arrays, tensors and files that stand for 0 and 1.
    most: pixels of a file, an address or a PIL image; larger ones are refused before they are decoded.
    """
    if isinstance(source, Tensor):
        return from_tensor(source, "the tensor", channels, span)
    if isinstance(source, np.ndarray):
        return from_array(source, "the array", channels, span)
    if isinstance(source, Image.Image):
        return _from_pil(source, "the PIL image", channels, span, most)
    if isinstance(source, bytes | bytearray | memoryview):
        return decoded(io.BytesIO(source), "the bytes", channels, span, most)
    if isinstance(source, str) and is_address(source):
        return decoded(io.BytesIO(fetched(source)), shown(source), channels, span, most)
    if isinstance(source, str | os.PathLike):
        with opened(source) as file:
            return decoded(file, shown(source), channels, span, most)
    if hasattr(source, "read"):
        data = source.read()
        if isinstance(data, str):
            raise ImageError('the file object gives text; open it in binary mode ("rb")')
        return decoded(io.BytesIO(data), "the file object", channels, span, most)
    raise ImageError(f"{_called(source)} is no image; give a path, address, bytes, PIL image, array or tensor{_inside(source)}")


def _called(source: Any) -> str:
    name = type(source).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _inside(source: Any) -> str:
    """Which of its values a table may mean: `pixel_values` of Hugging Face's processors, `image` of data sets."""
    if not isinstance(source, Mapping):
        return ""
    arrays = [key for key, one in source.items() if isinstance(one, (Tensor, np.ndarray)) and one.ndim > 1]
    keys = arrays or [key for key, one in source.items() if isinstance(one, Image.Image)]
    return f", such as its [{keys[0]!r}]" if keys else ""


def to_uint8(pixels: Tensor) -> np.ndarray:
    """(3 | 4, H, W), that with a leading 1, or grey (H, W) floats to (H, W, 3 | 4) uint8, rounded; clipped to [0, 1]."""
    planes = planes_of(pixels, "the pixels", (1, 3, 4), last=None).cpu()
    if not planes.is_floating_point() or planes.isnan().any():
        raise ImageError(f"the pixels: {planes.dtype}, or NaN among them; give floats in [0, 1]")
    levels = planes.float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return levels.expand(max(3, len(levels)), -1, -1).permute(1, 2, 0).contiguous().numpy()


def write_png(path: str | os.PathLike[str], pixels: Tensor, text: Mapping[str, str] | None = None) -> None:
    """Writes (3 | 4, H, W) or (H, W) pixels in [0, 1] and `text` (PNG text chunks): the whole file appears, or nothing."""
    picture, info = Image.fromarray(to_uint8(pixels)), PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    path = Path(path)
    try:
        with appearing(path) as unfinished:
            picture.save(unfinished, format="PNG", pnginfo=info)
    except OSError as error:
        raise ImageError(f"{shown(path)}: cannot be written ({error.strerror}); choose another place") from error


_readers = 0
_readers_lock = threading.Lock()
_switches = contextlib.ExitStack()


@contextlib.contextmanager
def _strict_pillow() -> Iterator[None]:
    """Pillow warns of nothing and refuses cut-off files: globals that the first reader sets, the last resets."""
    global _readers
    with _readers_lock:
        if _readers == 0:
            _switches.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", ImageFile.LOAD_TRUNCATED_IMAGES)
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            _switches.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        _readers += 1
    try:
        yield
    finally:
        with _readers_lock:
            _readers -= 1
            if _readers == 0:
                _switches.close()


@_strict_pillow()
def decoded(
    file: io.BufferedReader | io.BytesIO, name: str, channels: int = 3, span: Span | None = None, most: int = MAX_PIXELS
) -> Tensor:
    """A picture's bytes, or those of a .npy file, as pixels (1, 3, H, W); refusals begin with `name`."""
    file = file if file.seekable() else io.BytesIO(file.read())  # a pipe
    start = file.tell()
    if file.read(len(_NUMPY)) == _NUMPY:
        file.seek(start)
        return from_array(_saved_array(file, name, most), name, channels, span)
    file.seek(start)
    with _open(file, name) as image:
        return _from_pil(image, name, channels, span, most)


def _saved_array(file: io.BufferedReader | io.BytesIO, name: str, most: int) -> np.ndarray:
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ImageError(f"{name}: no array of numbers can be read ({shown(error)}); save it with numpy.save") from error
    if array.size > most * max(1, min(array.shape, default=1)):
        raise ImageError(f"{name}: shape {array.shape}, more than {most / 1e6:g} million pixels; shrink it first")
    return array


@_strict_pillow()
def header(file: io.BytesIO, name: str) -> tuple[str, Callable[[Tensor], Tensor]]:
    """What stands before the pixels: Pillow's name for the kind of picture, "JPEG RGB", and what turns its planes upright.

    Refused as `decoded` refuses it, as far as a header tells.
    """
    with _open(file, name) as image:
        _check_size(image, name, MAX_PIXELS)
        orientation = _orientation(image)
        return f"{image.format} {image.mode}", lambda planes: _upright(planes, orientation)


def _open(file: io.BufferedReader | io.BytesIO, name: str) -> Image.Image:
    head = file.read(512)
    if not head:
        raise ImageError(f"{name}: empty (0 bytes left to read); give the whole file from its start")
    try:
        return Image.open(file, formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: more than {MAX_PIXELS / 1e6:g} million pixels; shrink it first") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: {_kind(head)}; give a picture such as JPEG or PNG") from error
    except Exception as error:  # format plugins let through whatever their parser stumbles over
        raise ImageError(f"{name}: cannot be decoded ({shown(error)}); the file is damaged, copy it again") from error


@_strict_pillow()
def _from_pil(image: Image.Image, name: str, channels: int, span: Span | None, most: int) -> Tensor:
    _check_size(image, name, most)
    try:
        image.load()
    except Exception as error:
        raise ImageError(f"{name}: cut off or damaged ({shown(error)}); copy or fetch it again") from error
    try:
        values = _values(image)
    except Exception as error:
        raise ImageError(f"{name}: mode {image.mode} cannot be read ({shown(error)}); convert it to RGB") from error
    return _upright(from_array(values, name, channels, span), _orientation(image))


def _check_size(image: Image.Image, name: str, most: int) -> None:
    width, height = image.size
    if width * height > most:
        limit = f"more than {most / 1e6:g} million pixels"
        raise ImageError(f"{name}: {width} x {height}, {limit}; shrink it first")


def _upright(planes: Tensor, orientation: int) -> Tensor:
    swap, axes = _UPRIGHT.get(orientation, (False, []))
    return (planes.transpose(-2, -1) if swap else planes).flip(axes).contiguous() if swap or axes else planes


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF says nothing about the pixels, which are fine
        return 1


def _values(image: Image.Image) -> np.ndarray:
    """(H, W) uint16 or float, (H, W, 3) or (H, W, 4) uint8."""
    if image.mode == "F":
        return np.asarray(image)
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _grey16(image)
    if image.has_transparency_data:
        straight = image.convert("LA") if image.mode == "La" else image  # Pillow has no La -> RGBA
        return np.asarray(straight.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def _grey16(image: Image.Image) -> np.ndarray:
    values = np.array(image)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise ImageError(f"values from {values.min()} to {values.max()}, beyond 16 bits")
    values = values.astype(np.uint16)
    values[values == image.info.get("transparency", -1)] = 65535  # PNG's see-through grey, over white
    return values


def _kind(head: bytes) -> str:
    for mark, kind in _LOOKS_LIKE.items():
        if mark in head.lower():
            return kind
    printable = head.decode("utf-8", "ignore").isprintable() or head.isascii()
    return "text, not an image" if printable and b"\0" not in head else "not an image in a known format"
