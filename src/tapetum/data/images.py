"""Reads and writes pictures: paths, addresses, bytes, arrays, tensors and PIL images become pixels (1, 3, H, W) in [0, 1].

Every source is read as the same type: `Strips` (strips.py) over an array, a tensor, a .npy file (saved.py) or a PIL
image (pillow.py).
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from tapetum.data.pillow import MAX_PIXELS, Photograph, check_size, decoded, opened_picture, strict_pillow
from tapetum.data.planes import ValueSpan, accepted, axes_of, planes_of
from tapetum.data.saved import saved_array
from tapetum.data.sources import downloaded, is_address, opened_image
from tapetum.data.strips import AT_ONCE, Strips, of_array, of_tensor
from tapetum.files import shown
from tapetum.keeping.places import ELSEWHERE, writable
from tapetum.keeping.whole import whole_file
from tapetum.types import ImageError

_NUMPY = b"\x93NUMPY"  # how a .npy file begins


def read_image(source: Any) -> Tensor:
    """Reads a picture as pixels (1, 3, H, W), float32 in [0, 1]; an `ImageError` says what is wrong and what would work.

    source: a path, an http(s) address, bytes, a binary file object, a PIL image, a numpy array (H, W[, 1 | 3 | 4]) or with
    its channels first, a tensor (H, W), (1 | 3 | 4, H, W) or with its channels last, each also with a leading axis of 1; a .npy
    file is an array. Arrays and tensors: uint8, uint16, bool, or float in [0, 1]; tensors keep their device. Transparency is
    composited over white. EXIF orientation is applied, ICC profiles are ignored. An animation gives its first frame (a PIL
    image: its current one). Grey keeps 16 bits; colour has 8.
    """
    with strips_of(source) as strips:
        return strips.whole(torch.float32)


@contextlib.contextmanager
def strips_of(
    source: Any, channels: int = 3, span: ValueSpan | None = None, most: int = MAX_PIXELS, name: str | None = None
) -> Iterator[Strips]:
    """Opens any picture that `read_image` reads, for a network with `channels` inputs; its file stays open during the block.

    The pixels are (1, 3, H, W), or (1, channels, H, W) beyond colour.
    span: raw values of arrays, tensors and files that mean 0 and 1.
    most: pixels of a file, an address or a PIL image; larger ones are refused before they are decoded.
    name: the picture's name in error messages.
    """
    with contextlib.ExitStack() as kept:
        yield kept.enter_context(contextlib.closing(_strips(source, channels, span, most, name, kept)))


def _strips(
    source: Any, channels: int, span: ValueSpan | None, most: int, name: str | None, kept: contextlib.ExitStack
) -> Strips:
    if isinstance(source, Tensor):
        return of_tensor(source, name or "the tensor", channels, span)
    if isinstance(source, np.ndarray):
        return of_array(source, name or "the array", channels, span)
    kept.enter_context(strict_pillow())
    if isinstance(source, Image.Image):
        return _of_pil(source, name or "the PIL image", channels, span, most, ours=False)
    file, place = _opened(source, kept)
    name = name or place
    start = file.read(len(_NUMPY))
    file.seek(0)
    if start == _NUMPY:
        return saved_array(file, name, channels, span, most)
    image = kept.enter_context(contextlib.closing(opened_picture(file, name, most)))
    strips = _of_pil(image, name, channels, span, most, ours=True)
    file.close()  # all pixels are decoded: the bytes are no longer needed
    return strips


def _opened(source: Any, kept: contextlib.ExitStack) -> tuple[io.BufferedReader | io.BytesIO, str]:
    """Returns the open file of a source, and the name that error messages give it."""
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source), "the bytes"
    if isinstance(source, str) and is_address(source):
        return io.BytesIO(downloaded(source)), shown(source)
    if isinstance(source, str | os.PathLike):
        return kept.enter_context(opened_image(source)), shown(source)
    if not hasattr(source, "read"):
        name = type(source).__name__
        called = f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
        raise ImageError(f"{called} is no image; give a path, address, bytes, PIL image, array or tensor{_inside(source)}")
    data = source.read()
    if isinstance(data, str):
        raise ImageError('the file object gives text; open it in binary mode ("rb")')
    return io.BytesIO(data), "the file object"


def _of_pil(image: Image.Image, name: str, channels: int, span: ValueSpan | None, most: int, ours: bool) -> Strips:
    check_size(*image.size, name, most)
    decoded(image, name)
    raster = Photograph(image, name, ours)
    axes_of(raster.shape, name, accepted(channels), last=False)
    return Strips(raster, name, channels, span)


def _inside(source: Any) -> str:
    """Hint for error messages: which entry of a table holds an image, such as `pixel_values` (Hugging Face processors)."""
    if not isinstance(source, Mapping):
        return ""
    arrays = [key for key, one in source.items() if isinstance(one, (Tensor, np.ndarray)) and one.ndim > 1]
    keys = arrays or [key for key, one in source.items() if isinstance(one, Image.Image)]
    return f", such as its [{keys[0]!r}]" if keys else ""


def to_uint8(pixels: Tensor) -> np.ndarray:
    """Converts floats ([1,] 3 | 4, H, W) or grey (H, W) to (H, W, 3 | 4) uint8, clipped to [0, 1] and rounded."""
    planes = planes_of(pixels, "the pixels", (1, 3, 4), last=None).cpu()
    if not planes.is_floating_point() or planes.isnan().any():
        raise ImageError(f"the pixels: {planes.dtype}, or NaN among them; give floats in [0, 1]")
    levels = torch.empty(*planes.shape[1:], max(3, len(planes)), dtype=torch.uint8)
    step = max(1, AT_ONCE // (len(planes) * planes.shape[2]))
    for first in range(0, planes.shape[1], step):  # in blocks of rows: large pictures are not copied as floats
        rows = slice(first, first + step)
        levels[rows] = planes[:, rows].float().clamp(0, 1).mul_(255).round_().to(torch.uint8).permute(1, 2, 0)
    return levels.numpy()


def webp(levels: np.ndarray, quality: int) -> bytes:
    """Encodes pixels (h, w, 3) uint8 as a WebP file; `quality` is WebP's, 0 to 100."""
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "WEBP", quality=quality, method=4)
    return file.getvalue()


def data_uri(pixels: Tensor, *, lossless: bool = False) -> str:
    """Encodes a picture (3, h, w) in [0, 1] as a data URI: WebP, or PNG with `lossless`."""
    levels, kind = to_uint8(pixels), "png" if lossless else "webp"
    file = io.BytesIO()
    if lossless:
        Image.fromarray(levels).save(file, "PNG", optimize=True)
    content = file.getvalue() if lossless else webp(levels, 86)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def write_png(path: str | os.PathLike[str], pixels: Tensor, text: Mapping[str, str] | None = None) -> None:
    """Writes a PNG file of pixels (3 | 4, H, W) or (H, W) in [0, 1], with the PNG text chunks `text`; never a partial file."""
    picture, info = Image.fromarray(to_uint8(pixels)), PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    path = Path(path)
    with writable(path, ELSEWHERE), whole_file(path) as unfinished:
        picture.save(unfinished, format="PNG", pnginfo=info)
