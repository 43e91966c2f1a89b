"""The quick way from bytes to pixels: JPEGs by torchvision where that gives the same, everything else by `read_image`."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tapetum.data.images import picture
from tapetum.data.pillow import opened_picture, orientation_of, strict_pillow
from tapetum.data.strips import Strips, Upright
from tapetum.types import ImageError

_START = b"\xff\xd8\xff"
_QUICK = ("JPEG RGB", "JPEG L", "MPO RGB")  # MPO: what some cameras write. CMYK is converted in another way by torchvision
_RGB = 3  # torchvision's ImageReadMode.RGB


def pixels_of(data: bytes, name: str = "the bytes") -> Tensor:
    """The picture in a file's bytes as pixels (1, 3, H, W), float32 in [0, 1]: what `read_image` gives, bit for bit.

    Pillow reads the header (format, size, orientation, limits), torchvision the pixels of a JPEG, which is quicker. Every
    other picture, and every file at which the quick decoder stumbles, is `read_image`'s: it also words the refusals.
    """
    quick = _quick(data)
    return picture(data, name=name) if quick is None else quick


def _quick(data: bytes) -> Tensor | None:
    """Pixels of a JPEG in colour or grey, None where `read_image` must decide."""
    if data[:3] != _START or not _agrees():
        return None
    try:
        kind, orientation = header(io.BytesIO(data))
        levels = _levels(data) if kind in _QUICK else None
    except (ImageError, RuntimeError):  # a decoder's refusal is a RuntimeError
        return None
    if levels is None:
        return None
    c, height, width = levels.shape
    raster = Upright((c, height, width), lambda rows, columns: levels[:, rows, columns], orientation)
    return Strips(raster, "the bytes").whole()


def header(file: io.BytesIO) -> tuple[str, int]:
    """What stands before the pixels: Pillow's name for the kind of picture, "JPEG RGB", and EXIF's orientation.

    Refused as `read_image` refuses it, as far as a header tells.
    """
    with strict_pillow(), opened_picture(file, "the bytes") as image:
        return f"{image.format} {image.mode}", orientation_of(image)


def _levels(data: bytes) -> Tensor:
    """(3, H, W) uint8, channels last in memory.

    The operator behind torchvision.io.decode_jpeg: that function warns of its removal, after which Pillow decodes everything.
    """
    # a copy: torch warns of bytes, which nobody may write to
    return torch.ops.image.decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), _RGB, False)


@cache
def _agrees() -> bool:
    """Whether Pillow's and torchvision's JPEG libraries, built apart, decode the same here: asked once, of a small picture."""
    noise = np.random.default_rng(0).integers(0, 256, (41, 59, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format="JPEG", quality=60, subsampling="4:2:0")
    try:
        import torchvision.io  # noqa: F401 (registers torch.ops.image)

        return torch.equal(_levels(buffer.getvalue()), torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1))
    except (ImportError, AttributeError, RuntimeError):  # a torchvision without its image library
        return False
