"""Decodes pictures quickly: JPEGs with torchvision where the pixels are the same, all others with `read_image`."""

from __future__ import annotations

import contextlib
import importlib
import io
import threading
from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tapetum.data.images import strips_of
from tapetum.data.pillow import MAX_PIXELS, opened_picture, orientation_of, strict_pillow
from tapetum.data.strips import Strips, upright
from tapetum.types import ImageError

_QUICK = ("JPEG RGB", "JPEG L", "MPO RGB")  # MPO: written by some cameras. torchvision converts CMYK differently


@contextlib.contextmanager
def strips_in(data: bytes, name: str) -> Iterator[Strips]:
    """Yields the picture that a file's bytes encode, with exactly the pixels that `read_image` gives.

    Pillow reads the header (format, size, orientation, limits), torchvision decodes the pixels of a JPEG, which
    is quicker. Every other picture, and every file that the quick decoder rejects, goes to
    `read_image`, which raises the error. Threads that decode large pictures wait for each other, to limit memory.
    """
    try:
        kind, orientation, pixels = header(io.BytesIO(data))
    except ImageError:  # `read_image` will refuse the file, or read a .npy file in blocks
        kind, orientation, pixels = "", 1, 0
    with _turns(pixels):
        quick = _quick(data, kind, orientation)
        if quick is not None:
            with contextlib.closing(quick):
                yield quick
            return
        with strips_of(data, name=name) as strips:
            yield strips


def _quick(data: bytes, kind: str, orientation: int) -> Strips | None:
    """Pixels of a JPEG in colour or grey, decoded by torchvision; None if `read_image` has to read the file."""
    if kind not in _QUICK or not _agrees():
        return None
    try:
        return Strips(upright(_levels(data), orientation), "the bytes")
    except RuntimeError:  # torchvision cannot decode the file
        return None


class Turns:
    """Limits the memory of large pictures: a picture of more than `small` pixels waits while the total would exceed `most`."""

    def __init__(self, small: int, most: int) -> None:
        self._small, self._most, self._held, self._changed = small, most, 0, threading.Condition()

    @contextlib.contextmanager
    def __call__(self, pixels: int) -> Iterator[None]:
        pixels = 0 if pixels <= self._small else min(pixels, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._held + pixels <= self._most)
            self._held += pixels
        try:
            yield
        finally:
            with self._changed:
                self._held -= pixels
                self._changed.notify_all()


_turns = Turns(16_000_000, MAX_PIXELS)


def header(file: io.BytesIO) -> tuple[str, int, int]:
    """Reads the kind of picture as Pillow names it ("JPEG RGB"), its EXIF orientation and its number of pixels.

    Only the header is read; pictures that `read_image` refuses are refused here where the header shows the reason.
    """
    with strict_pillow(), opened_picture(file, "the bytes") as image:
        return f"{image.format} {image.mode}", orientation_of(image), image.width * image.height


def _levels(data: bytes) -> Tensor:
    """Decodes a JPEG to pixels (3, H, W) uint8, channels last in memory.

    Calls the operator behind torchvision.io.decode_jpeg, since that function is deprecated and warns; `_agrees` tests that the
    operator is there.
    """
    # a copy: torch warns about read-only bytes
    return torch.ops.image.decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), 3, False)  # 3: RGB


@cache
def _agrees() -> bool:
    """Returns whether Pillow and torchvision decode JPEGs to the same pixels here; tested once on a small picture."""
    noise = np.random.default_rng(0).integers(0, 256, (41, 59, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, format="JPEG", quality=60, subsampling="4:2:0")
    try:
        importlib.import_module("torchvision.io")  # registers torch.ops.image
        return torch.equal(_levels(buffer.getvalue()), torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1))
    except (ImportError, AttributeError, RuntimeError):  # a torchvision without its image library
        return False
