"""Turns photographs into model input. The settings belong to the model: wrong constants cost a tenth of the accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from tapetum.data.images import strips_of
from tapetum.data.pillow import MAX_PIXELS
from tapetum.data.planes import ValueSpan, viewable
from tapetum.data.strips import AT_ONCE, Strips
from tapetum.types import ImageError
from tapetum.types.text import as_text

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # statistics of the ImageNet training set, as torchvision and timm document them
IMAGENET_STD = (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in PIL's convert("L")

Interpolation = Literal["bilinear", "bicubic", "nearest", "lanczos"]

Size = tuple[int, int]
"""Height and width in px."""

Resize = int | Literal["crop", "squash"]
"""How a picture is resized before the central crop; see `Preprocessing`."""

MARGIN = 8 / 7
"""The shorter side of large pictures is resized to this multiple of `size`: 256 px for a `size` of 224."""


def size_of(images: Tensor) -> Size:
    """Height and width of images or maps (..., h, w)."""
    return int(images.shape[-2]), int(images.shape[-1])


@dataclass(frozen=True)
class Preprocessing:
    """Resizes a picture, cuts out its central `size` (height, width), and normalises it by `mean` and `std` per channel.

    size      of the model's input in px; one number means a square
    resize    the shorter side in px before the cut; "crop": 8/7 of `size`, but no picture is enlarged more than it takes to
              cover `size`, so one of exactly that size passes unchanged; "squash": the whole picture, nothing is cut off
    mean, std one number per channel, in units of pixels in [0, 1]
    range     the two raw values that become 0 and 1 (12 bits, a CT window, reflectances), clipped; None: pixels use all of
              8 or 16 bits, or lie in [0, 1] already
    """

    size: Size = (224, 224)
    resize: Resize = 256
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    range: ValueSpan | None = None

    def __post_init__(self) -> None:
        if self.range is not None and not -math.inf < self.range[0] < self.range[1] < math.inf:
            raise ImageError(f"range is (low, high), the raw values of black and white, not {self.range}")
        if not all(map(math.isfinite, (*self.mean, *self.std))) or not all(one > 0 for one in self.std):
            raise ImageError(f"std is a number above zero per channel and mean a number, not {self.std} and {self.mean}")
        object.__setattr__(self, "size", as_pair(self.size))
        if isinstance(self.resize, str) and self.resize not in ("crop", "squash"):
            raise ImageError(f'resize is the shorter side in px, "crop" or "squash", not {self.resize!r}')
        if isinstance(self.resize, int) and self.resize < min(self.size):
            raise ImageError(f"a picture of {self.resize} px holds no crop of {as_text(self.size)} px: make resize larger")

    @property
    def channels(self) -> int:
        """Number of channels of the model's input."""
        return len(self.mean)

    def read(self, source: Any, most: int = MAX_PIXELS) -> Tensor:
        """Reads one picture, in any form that `read_image` takes, as pixels (1, 3 or the network's bands, H, W) in [0, 1].

        most: pixels of a file or a PIL image; larger ones are refused before they are decoded.
        """
        with self.opened(source, most) as strips:
            return strips.whole()

    def opened(self, source: Any, most: int = MAX_PIXELS) -> AbstractContextManager[Strips]:
        """Opens a picture for a `with` block without converting it to floats: `crop` converts only the parts that it needs."""
        return strips_of(source, self.channels, self.range, most)

    def __call__(self, pixels: Tensor | Strips) -> Tensor:
        """Converts pixels (n, 3, H, W) or (n, c, H, W) in [0, 1] to model-ready images (n, c, *size)."""
        return self.normalize(self.crop(pixels))

    def crop(self, pixels: Tensor | Strips) -> Tensor:
        """Resizes and crops pixels to the part that the model sees, in [0, 1], not normalised."""
        self._check(tuple(pixels.shape))
        window = self._window(*pixels.shape[-2:])
        target = self._resized(*window[2:])
        if list(window[2:]) == target:
            central = TF.center_crop(_whole(pixels, window), list(self.size))
        elif min(self.size) > 1 and _in_two_passes(pixels, self.interpolation):  # torch 2.14 misreads planes of one column
            planes = math.prod(pixels.shape[:2])
            central = _central(partial(_rows, pixels), planes, window, target, self.size, self.interpolation)
        else:
            central = TF.center_crop(self._at_once(_whole(pixels, window), target), list(self.size))
        return central.clamp(0, 1)  # bicubic resizing leaves [0, 1]

    def resized(self, pixels: Tensor) -> Tensor:
        """Resizes whole pictures to the size from which `crop` cuts, in [0, 1]; of pictures beyond 8 : 1 only the middle."""
        window = self._window(*pixels.shape[-2:])
        return self._at_once(_whole(pixels, window), self._resized(*window[2:])).clamp(0, 1)

    def _at_once(self, pixels: Tensor, target: list[int]) -> Tensor:
        return TF.resize(pixels, target, interpolation=InterpolationMode(self.interpolation), antialias=True)

    def _window(self, height: int, width: int) -> Patch:
        """Central part (top, left, height, width) of a picture, with proportions of at most 8 : 1.

        Resized whole, a picture of 10 x 20,000 px would need gigabytes.
        """
        if self.resize == "squash":
            return 0, 0, height, width
        h, w = self.size
        rows, columns = min(height, max(1, LONGEST * width * h // w)), min(width, max(1, LONGEST * height * w // h))
        return _start(height, rows), _start(width, columns), rows, columns

    def _resized(self, height: int, width: int) -> list[int]:
        """Height and width after resizing, before the crop; proportions are kept, except with "squash"."""
        if self.resize == "squash":
            return list(self.size)
        picture = (height, width)
        tight = 0 if self.size[0] * width >= self.size[1] * height else 1
        if self.resize == "crop":
            side = min(round(self.size[tight] * MARGIN), max(self.size[tight], picture[tight]))
        else:
            side = max(self.size[tight], int(self.resize * picture[tight] / min(picture)))
        other = max(self.size[1 - tight], int(side * picture[1 - tight] / picture[tight]))
        return [side, other] if tight == 0 else [other, side]

    def wider(self) -> Preprocessing:
        """Returns the same preprocessing with a larger `size`, all of the shorter side, from which random crops can be cut."""
        if self.resize == "squash":
            return self
        share = MARGIN if self.resize == "crop" else self.resize / min(self.size)
        return replace(self, size=(round(self.size[0] * share), round(self.size[1] * share)))

    def at(self, size: int | str | Sequence[int]) -> Preprocessing:
        """Returns the same preprocessing for another image size, cropped in the same proportion."""
        pair = as_pair(size)
        if isinstance(self.resize, str):
            return replace(self, size=pair)
        return replace(self, size=pair, resize=max(min(pair), round(min(pair) * self.resize / min(self.size))))

    def repeated(self, frames: int) -> Preprocessing:
        """Returns the same preprocessing for films whose frames are folded into the channels, (n, c t, h, w).

        The mean and std of each channel are repeated for its t frames.
        """
        mean, std = (tuple(one for one in numbers for _ in range(frames)) for numbers in (self.mean, self.std))
        return replace(self, mean=mean, std=std)

    def box(self, height: int, width: int) -> tuple[float, float, float, float]:
        """Part that the crop shows, as (top, left, bottom, right) in pixels of a photograph of this height and width."""
        if self.resize == "squash":
            return 0.0, 0.0, float(height), float(width)
        resized = self._resized(height, width)
        top, left = (_start(side, size) for side, size in zip(resized, self.size, strict=True))
        rows, columns = height / resized[0], width / resized[1]
        return top * rows, left * columns, (top + self.size[0]) * rows, (left + self.size[1]) * columns

    def normalize(self, pixels: Tensor) -> Tensor:
        """Converts pixels in [0, 1] to model-ready values; for a one-channel model from their luma (ITU-R BT.601)."""
        self._check(tuple(pixels.shape))
        if self.channels == 1 and pixels.shape[1] == 3:
            pixels = (pixels * pixels.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        return (pixels - self._per_channel(self.mean, pixels)) / self._per_channel(self.std, pixels)

    def denormalize(self, images: Tensor) -> Tensor:
        """Converts model-ready images to pixels (n, 3, h, w) in [0, 1], clipped.

        Other numbers of channels than three become their mean in grey.
        """
        return viewable(self.pixels(images))

    def pixels(self, images: Tensor) -> Tensor:
        """Converts model-ready images back to the pixels that `__call__` takes: three channels, or all bands."""
        own = (images * self._per_channel(self.std, images) + self._per_channel(self.mean, images)).clamp(0, 1)
        return own.expand(-1, 3, -1, -1) if self.channels == 1 else own

    def _check(self, shape: tuple[int, ...]) -> None:
        allowed = (3, 1) if self.channels in (1, 3) else (self.channels,)
        if len(shape) != 4 or shape[1] not in allowed:
            raise ImageError(f"pixels must be (n, {allowed[0]}, H, W) in [0, 1], not {shape}; use model.preprocess")

    def _per_channel(self, numbers: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(numbers, dtype=like.dtype, device=like.device).view(1, -1, 1, 1)

    def describe(self) -> str:
        """Describes the steps of the preprocessing in words, for reports and figures."""
        size, raw = as_text(self.size), ""
        if self.range is not None:
            raw += f", raw values {self.range[0]:g} to {self.range[1]:g} as 0 to 1"
        if self.channels not in (1, 3):
            raw += f", {self.channels} bands, shown as their mean in grey"
        if self.resize == "squash":
            return f"squashed to {size} px{raw}"
        if self.resize != "crop":
            return f"shorter side resized to {self.resize} px ({self.interpolation}), central {size} px{raw}"
        covered = as_text((round(self.size[0] * MARGIN), round(self.size[1] * MARGIN)))
        return f"resized to cover at most {covered} px ({self.interpolation}), central {size} px{raw}"


Patch = tuple[int, int, int, int]
"""Part of a picture in px: top, left, height, width."""

LONGEST = 8


def thumbnail(pixels: Tensor | Strips, longest_px: int) -> Tensor:
    """Shrinks one whole picture for display: (1, 3, h, w) on the CPU, its longer side at most `longest_px`, anti-aliased."""
    height, width = map(int, pixels.shape[-2:])
    window, scale = (0, 0, height, width), longest_px / max(height, width)
    if scale >= 1:
        return viewable(_whole(pixels, window)).cpu()
    size = max(1, round(scale * height)), max(1, round(scale * width))
    if isinstance(pixels, Strips) and pixels.shape[1] == 3 and min(size) > 1:  # a mean's last bits depend on memory layout
        return _central(lambda *ends: pixels.rows(*ends).cpu(), 3, window, list(size), size, "bilinear")
    whole = viewable(_whole(pixels, window)).cpu()
    return F.interpolate(whole, size, mode="bilinear", antialias=True, align_corners=False)


def as_pair(size: Any) -> Size:
    """Converts the side of a square in px, a pair, or "96x160" to (height, width)."""
    parts = size.lower().replace("×", "x").split("x") if isinstance(size, str) else size
    parts = list(parts) if isinstance(parts, Sequence) else [parts]
    try:
        numbers = [int(part) for part in parts if float(part) < math.inf]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    whole = len(parts) == len(numbers) in (1, 2) and all(float(a) == b for a, b in zip(parts, numbers, strict=True))
    if not whole or min(numbers) < 1:
        raise ImageError(f"a size is a side in px, or height x width such as 96x160, not {size!r}")
    return numbers[0], numbers[-1]


def _start(side: int, size: int) -> int:
    """First row or column of torchvision's center_crop of `size` from `side` px; halves are rounded to even."""
    return round((side - size) / 2)


_REACH = {"bilinear": 1, "bicubic": 2}  # half the width of the resizing filter, in pixels of the coarser grid


def _whole(pixels: Tensor | Strips, window: Patch) -> Tensor:
    top, left, height, width = window
    whole = pixels if isinstance(pixels, Tensor) else pixels.whole()
    return whole[..., top : top + height, left : left + width]


def _in_two_passes(pixels: Tensor | Strips, interpolation: str) -> bool:
    """Returns whether torch would resize these pixels on a CPU, channel by channel, first along the rows, then the columns."""
    if isinstance(pixels, Strips):
        return interpolation in _REACH and pixels.rows(0, 1).device.type == "cpu"
    plain = pixels.device.type == "cpu" and pixels.is_contiguous() and pixels.dtype in (torch.float32, torch.float64)
    return plain and not pixels.requires_grad and interpolation in _REACH


def _central(
    rows_of: Callable[[int, int], Tensor], planes: int, window: Patch, target: list[int], size: Size, interpolation: str
) -> Tensor:
    """Computes the central crop of the resized window with exactly torch's values, and nothing outside the crop.

    The first pass (along the rows) takes only the needed rows, in blocks; the second takes only the needed columns.
    """
    (up, aside, height, width), (rows, columns), (h, w) = window, target, size
    top, left, scale = _start(rows, h), _start(columns, w), height / rows
    reach = _REACH[interpolation] * max(scale, 1) + 1
    first = max(0, math.floor((top + 0.5) * scale - reach))
    last = min(height, math.ceil((top + h - 0.5) * scale + reach))
    how = {"mode": interpolation, "align_corners": False, "antialias": True}
    tall, step = None, max(1, AT_ONCE // (planes * width))
    for at in range(first, last, step):
        end = min(at + step, last)
        strip = rows_of(up + at, up + end)[..., aside : aside + width]
        seen = F.interpolate(strip, size=[end - at, columns], **how)[..., left : left + w]
        tall = seen.new_zeros(*seen.shape[:2], height, w) if tall is None else tall
        tall[..., at:end, :] = seen
    assert tall is not None  # no crop is empty
    return F.interpolate(tall, size=[rows, w], **how)[..., top : top + h, :]


def _rows(pixels: Tensor | Strips, first: int, last: int) -> Tensor:
    return pixels[..., first:last, :] if isinstance(pixels, Tensor) else pixels.rows(first, last)
