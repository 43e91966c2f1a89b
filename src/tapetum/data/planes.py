"""Interprets arrays and tensors as pictures: their axes and the scale of their values; refuses what is ambiguous."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum.types import ImageError

ValueSpan = tuple[float, float]
"""Raw values that mean 0 (black) and 1 (white)."""

_Array = TypeVar("_Array", Tensor, NDArray[Any])

FULL_SCALE = {torch.bool: 1, torch.uint8: 255, torch.uint16: 65535}
ROUNDING = 1e-5  # how far rounding may take a float image out of [0, 1]
BYTES = 255


def accepted(channels: int) -> tuple[int, ...]:
    """Numbers of channels that a picture may have: grey, colour or with alpha if `channels` is 3, else exactly `channels`."""
    return (1, 3, 4) if channels in (1, 3) else (channels,)


def from_batch(batch: Tensor, channels: int = 3, span: ValueSpan | None = None, last: bool = False) -> Tensor:
    """Converts a batch (n, c, H, W) or (n, H, W, c) to pixels (n, c, H, W) in [0, 1], each picture as `Strips` does."""
    fits = accepted(channels)
    first_fits, last_fits = batch.shape[1] in fits, batch.shape[-1] in fits
    if not (first_fits or last_fits):
        words = f"(n, {' | '.join(map(str, fits))}, H, W)"
        raise ImageError(f"a batch of pictures is {words}, not {tuple(batch.shape)}")
    if batch.numel() == 0:
        raise ImageError(f"the batch {tuple(batch.shape)} holds no pixels")
    planes = batch.permute(0, 3, 1, 2) if last_fits and (last or not first_fits) else batch
    check_values(lambda: [planes], "the batch", span)
    return in_color(in_unit(planes, span), channels)


def in_color(planes: Tensor, channels: int) -> Tensor:
    """Composites transparency over white and repeats grey to three planes, for networks with colour input."""
    if channels in (1, 3) and planes.shape[1] == 4:
        color, alpha = planes[:, :3], planes[:, 3:]
        planes = color * alpha + (1 - alpha)
    return planes.expand(-1, 3, -1, -1) if channels in (1, 3) and planes.shape[1] == 1 else planes


def viewable(pixels: Tensor) -> Tensor:
    """Converts pixels (n, c, h, w) to (n, 3, h, w) for display: the mean over channels in grey unless there are three."""
    return pixels if pixels.shape[1] == 3 else pixels.mean(1, keepdim=True).expand(-1, 3, -1, -1)


def planes_of(given: _Array, name: str, channels: Sequence[int], last: bool | None = False) -> _Array:
    """Returns one picture as (c, H, W), whichever axis holds its channels.

    Where both the first and the last axis could, `last` decides; last=None refuses the picture.
    """
    planes: Any = given.detach() if isinstance(given, Tensor) else given
    axes = axes_of(tuple(planes.shape), name, channels, last)
    planes = planes[0] if planes.ndim == 4 else planes
    if planes.ndim == 2:
        return planes[None]
    if axes[0] > axes[2]:  # channels last
        planes = planes.permute(2, 0, 1) if isinstance(given, Tensor) else planes.transpose(2, 0, 1)
    return planes


def axes_of(shape: tuple[int, ...], name: str, channels: Sequence[int], last: bool | None = False) -> tuple[int, int, int]:
    """Indices of the axes of channels, rows and columns of one picture; -1 for the channels of (H, W)."""
    lead = int(len(shape) == 4 and shape[0] == 1)
    inner = (1, *shape) if len(shape) == 2 else shape[lead:]
    fits = len(inner) == 3 and inner[0] in channels, last is not None and len(inner) == 3 and inner[-1] in channels
    if not any(fits) or (len(shape) == 2 and 1 not in channels):
        raise ImageError(f"{name}: shape {shape} is not {_usual(channels)}{_hint(len(shape) - lead)}")
    if 0 in shape:
        raise ImageError(f"{name}: no pixels (shape {shape}); give at least 1 x 1")
    if len(shape) == 2:
        return -1, 0, 1
    is_last = fits[1] and (last or not fits[0])
    return (lead + 2, lead, lead + 1) if is_last else (lead, lead + 1, lead + 2)


def _usual(channels: Sequence[int]) -> str:
    most = "3" if 3 in channels else str(channels[0])
    return f"({most}, H, W) or ({most}, H, W) with a leading 1" if 1 not in channels else "(H, W), (3, H, W) or (H, W, 3)"


def _hint(ndim: int) -> str:
    if ndim == 5:
        return "; volumes and films are no pictures: tp.wrap(..., call=...) can fold their axes"
    return "; take its pictures one at a time" if ndim == 4 else ""


def check_values(parts: Callable[[], Iterable[Tensor]], name: str, span: ValueSpan | None = None) -> None:
    """Refuses values that cannot be pixels: a wrong type, NaN, or out of range; `parts` yields all values at each call."""
    dtype = next(iter(parts())).dtype
    if dtype.is_complex:
        raise ImageError(f"{name}: complex numbers are no pixels; use uint8, or float in [0, 1]")
    if span is not None and dtype in (torch.bool, torch.uint8) and not (span[0] >= 0 and 1 < span[1] <= BYTES):
        low, high = span
        raise ImageError(f"{name}: {dtype} holds no values from {low:g} to {high:g}, the range of this model; give raw ones")
    if dtype.is_floating_point:
        _check_floats(parts, name, span)
    elif span is None and dtype not in FULL_SCALE:
        raise ImageError(
            f"{name}: {dtype} has no known range; convert it to uint8, or to float in [0, 1], or say what its values "
            "mean with tp.wrap(..., range=(low, high))"
        )


def _check_floats(parts: Callable[[], Iterable[Tensor]], name: str, span: ValueSpan | None) -> None:
    ends = [float(end) for part in parts() for end in part.aminmax()]
    if not all(map(math.isfinite, ends)):
        raise ImageError(f"{name}: holds NaN or infinity; replace them first (nan_to_num)")
    least, most = min(ends), max(ends)
    if span is None and (least < -ROUNDING or most > 1 + ROUNDING):
        hint = "divide by 255" if least >= 0 and most <= BYTES else "rescale it, or undo the model's normalization"
        raise ImageError(f"{name}: values from {least:g} to {most:g} are not in [0, 1]; {hint}")
    if span is None or span[1] - span[0] <= 20 or least < 0 or most > 1:
        return
    if any(bool((part != part.round()).any()) for part in parts()):
        raise ImageError(
            f"{name}: values from {least:g} to {most:g} are pixels in [0, 1]; this model takes raw values from {span[0]:g} to "
            f"{span[1]:g}: give the array, tensor or file itself"
        )


def in_unit(planes: Tensor, span: ValueSpan | None = None) -> Tensor:
    """Scales values to [0, 1], float32 (doubles stay doubles).

    The divisor is the largest value of the type; with `span`, values go linearly from its two ends to 0 and 1, clipped.
    """
    kept = torch.float64 if planes.dtype == torch.float64 else torch.float32
    if span is not None:
        low, high = span
        return ((planes.double() - low) / (high - low)).clamp(0, 1).to(kept)
    if planes.dtype in FULL_SCALE:
        return planes.float().div_(FULL_SCALE[planes.dtype])
    return planes.to(kept).clamp(0, 1)
