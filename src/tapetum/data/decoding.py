"""The quick way from bytes to pixels: JPEGs by torchvision where that gives the same, everything else by `read_image`."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tapetum.data.images import decoded, header
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
    return decoded(io.BytesIO(data), name) if quick is None else quick


def _quick(data: bytes) -> Tensor | None:
    """Pixels of a JPEG in colour or grey, None where `read_image` must decide."""
    if data[:3] != _START or not _agrees():
        return None
    try:
        kind, upright = header(io.BytesIO(data), "the bytes")
        levels = _levels(data) if kind in _QUICK else None
    except (ImageError, RuntimeError):  # a decoder's refusal is a RuntimeError
        return None
    return None if levels is None else upright(_unit(levels))


def _unit(levels: Tensor) -> Tensor:
    """(3, H, W) in any layout to contiguous floats (1, 3, H, W): laid out and converted in one go."""
    planes = torch.empty((1, *levels.shape), dtype=torch.float32)
    planes[0].copy_(levels)
    return planes.div_(255)


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
