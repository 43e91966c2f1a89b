"""How a photograph becomes what a model sees. It travels with the model: wrong constants cost a tenth of accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from tapetum.types import ImageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of the ImageNet training set; torchvision and timm document the same numbers
IMAGENET_STD = (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, what PIL's convert("L") uses

Interpolation = Literal["bilinear", "bicubic", "nearest", "lanczos"]


@dataclass(frozen=True)
class Preprocessing:
    """Resize the shorter side to `resize`, cut the central `size` x `size`, normalise by `mean` and `std` per channel.

    `resize=None` squashes the whole picture to `size` instead, so nothing is cut off.
    """

    size: int = 224
    resize: int | None = 256
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if self.resize is not None and self.resize < self.size:
            raise ImageError(
                f"a picture resized to {self.resize} px holds no crop of {self.size} px: resize must not be smaller"
            )

    def __call__(self, pixels: Tensor) -> Tensor:
        """(n, 3, H, W) in [0, 1] to model-ready (n, c, size, size)."""
        return self.normalize(self.crop(pixels))

    def crop(self, pixels: Tensor) -> Tensor:
        """The part of the picture that the model sees, in [0, 1]: resized and cut, not normalised."""
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise ImageError(f"pixels must be (n, 3, H, W) in [0, 1], not {tuple(pixels.shape)}; use tapetum.read_image")
        pixels = pixels if self.resize is None else _trimmed(pixels)
        target = [self.size, self.size] if self.resize is None else self._resized(*pixels.shape[-2:])
        if list(pixels.shape[-2:]) == target:
            central = TF.center_crop(pixels, [self.size, self.size])
        elif self.size > 1 and _in_two_passes(pixels, self.interpolation):  # torch 2.14 misreads planes of one column
            central = _central(pixels, target, self.size, self.interpolation)
        else:
            resized = TF.resize(pixels, target, interpolation=InterpolationMode(self.interpolation), antialias=True)
            central = TF.center_crop(resized, [self.size, self.size])
        return central.clamp(0, 1)  # bicubic overshoots

    def resized(self, pixels: Tensor) -> Tensor:
        """The whole picture at the size that `crop` cuts from, in [0, 1]; of a strip of more than 8 : 1 its middle."""
        pixels = pixels if self.resize is None else _trimmed(pixels)
        target = [self.size, self.size] if self.resize is None else self._resized(*pixels.shape[-2:])
        return TF.resize(pixels, target, interpolation=InterpolationMode(self.interpolation), antialias=True).clamp(0, 1)

    def _resized(self, height: int, width: int) -> list[int]:
        assert self.resize is not None
        short, long = min(height, width), max(height, width)
        other = max(self.size, int(self.resize * long / short))
        return [self.resize, other] if height <= width else [other, self.resize]

    def box(self, height: int, width: int) -> tuple[float, float, float, float]:
        """(top, left, bottom, right) of the crop in the pixels of a photograph of that size."""
        if self.resize is None:
            return 0.0, 0.0, float(height), float(width)
        resized = self._resized(height, width)
        top, left = (_start(side, self.size) for side in resized)
        rows, columns = height / resized[0], width / resized[1]
        return top * rows, left * columns, (top + self.size) * rows, (left + self.size) * columns

    def normalize(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1] to model-ready values; a one-channel model gets the luma (ITU-R BT.601)."""
        if len(self.mean) == 1 and pixels.shape[1] == 3:
            pixels = (pixels * pixels.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        return (pixels - self._per_channel(self.mean, pixels)) / self._per_channel(self.std, pixels)

    def denormalize(self, images: Tensor) -> Tensor:
        """Model-ready images back to pixels in [0, 1], always three channels, clipped."""
        pixels = images * self._per_channel(self.std, images) + self._per_channel(self.mean, images)
        return pixels.expand(-1, 3, -1, -1).clamp(0, 1) if pixels.shape[1] == 1 else pixels.clamp(0, 1)

    def _per_channel(self, numbers: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(numbers, dtype=like.dtype, device=like.device).view(1, -1, 1, 1)

    def describe(self) -> str:
        """In words, for reports and figures."""
        if self.resize is None:
            return f"squashed to {self.size} x {self.size} px"
        return f"shorter side resized to {self.resize} px ({self.interpolation}), central {self.size} x {self.size} px"


LONGEST = 8


def _trimmed(pixels: Tensor) -> Tensor:
    """A strip of at most 8 : 1 around the centre: a picture of 10 x 20,000 px would otherwise grow to gigabytes."""
    height, width = (int(side) for side in pixels.shape[-2:])
    most = LONGEST * min(height, width)
    return TF.center_crop(pixels, [min(height, most), min(width, most)]) if max(height, width) > most else pixels


def _start(side: int, size: int) -> int:
    """Where torchvision's center_crop begins: halves go to the even number."""
    return round((side - size) / 2)


_REACH = {"bilinear": 1, "bicubic": 2}  # of the filter, in pixels of the coarser grid


def _in_two_passes(pixels: Tensor, interpolation: str) -> bool:
    """Whether torch resizes these along the rows first, then along the columns: on a CPU, plane by plane."""
    plain = pixels.device.type == "cpu" and pixels.is_contiguous() and pixels.dtype in (torch.float32, torch.float64)
    return plain and not pixels.requires_grad and interpolation in _REACH


def _central(pixels: Tensor, target: list[int], size: int, interpolation: str) -> Tensor:
    """The central crop of the resized pixels, to the last bit, without computing what the crop does not see.

    Only rows within its reach go through the first pass (along the rows), only its columns through the second.
    """
    height, (rows, columns) = int(pixels.shape[-2]), target
    top, left, scale = _start(rows, size), _start(columns, size), height / rows
    reach = _REACH[interpolation] * max(scale, 1) + 1
    first = max(0, math.floor((top + 0.5) * scale - reach))
    last = min(height, math.ceil((top + size - 0.5) * scale + reach))
    how = {"mode": interpolation, "align_corners": False, "antialias": True}
    seen = F.interpolate(pixels[..., first:last, :], size=[last - first, columns], **how)[..., left : left + size]
    tall = pixels.new_zeros(*pixels.shape[:-1], size)
    tall[..., first:last, :] = seen
    return F.interpolate(tall, size=[rows, size], **how)[..., top : top + size, :]
