"""Arrays and tensors as pictures: their axes, what their numbers mean, and one line where neither can be known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tapetum.types import ImageError

Span = tuple[float, float]
"""The raw values that stand for 0 (black) and 1 (white)."""

FULL_SCALE = {torch.bool: 1, torch.uint8: 255, torch.uint16: 65535}
ROUNDING = 1e-5  # how far a float image may leave [0, 1] by arithmetic alone
BYTES = 255


def accepted(channels: int) -> tuple[int, ...]:
    """How many planes a picture for a network of that many channels may have: grey, colour, with alpha; else its own."""
    return (1, 3, 4) if channels in (1, 3) else (channels,)


def from_array(array: np.ndarray, name: str, channels: int = 3, span: Span | None = None) -> Tensor:
    """(H, W), (H, W, c) or (c, H, W), of which the first is meant where both fit, to pixels (1, c, H, W)."""
    try:
        values = torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    except TypeError as error:
        raise ImageError(f"{name}: {array.dtype} holds no pixels; use uint8, or float in [0, 1]") from error
    return from_tensor(values, name, channels, span, last=True)


def from_tensor(tensor: Tensor, name: str, channels: int = 3, span: Span | None = None, last: bool = False) -> Tensor:
    """One picture (H, W), (c, H, W), (H, W, c), or that with a leading 1, to pixels (1, c, H, W); `last` is meant in doubt."""
    planes = planes_of(tensor, name, accepted(channels), last)
    return _finished(unit_range(planes[None], name, span), channels).contiguous()


def from_batch(batch: Tensor, channels: int = 3, span: Span | None = None, last: bool = False) -> Tensor:
    """(n, c, H, W) or (n, H, W, c) to pixels (n, c, H, W): each picture as `from_tensor` makes it."""
    fits = accepted(channels)
    first_fits, last_fits = batch.shape[1] in fits, batch.shape[-1] in fits
    if not (first_fits or last_fits):
        words = f"(n, {' | '.join(map(str, fits))}, H, W)"
        raise ImageError(f"a batch of pictures is {words}, not {tuple(batch.shape)}")
    if batch.numel() == 0:
        raise ImageError(f"the batch {tuple(batch.shape)} holds no pixels")
    planes = batch.permute(0, 3, 1, 2) if last_fits and (last or not first_fits) else batch
    return _finished(unit_range(planes, "the batch", span), channels)


def _finished(planes: Tensor, channels: int) -> Tensor:
    """Transparency over white, and grey as three planes, where pictures are in colour."""
    if channels in (1, 3) and planes.shape[1] == 4:
        color, alpha = planes[:, :3], planes[:, 3:]
        planes = color * alpha + (1 - alpha)
    return planes.expand(-1, 3, -1, -1) if channels in (1, 3) and planes.shape[1] == 1 else planes


def viewable(pixels: Tensor) -> Tensor:
    """Pixels (n, c, h, w) as people look at them, (n, 3, h, w): of other than three channels the mean, in grey."""
    return pixels if pixels.shape[1] == 3 else pixels.mean(1, keepdim=True).expand(-1, 3, -1, -1)


def planes_of(tensor: Tensor, name: str, channels: Sequence[int], last: bool | None = False) -> Tensor:
    """(c, H, W) of one picture; channels that come last are taken, too, and meant in doubt by `last`; None: refused."""
    planes = tensor.detach()
    planes = planes[0] if planes.ndim == 4 and len(planes) == 1 else planes
    planes = planes[None] if planes.ndim == 2 else planes
    fits = (
        planes.ndim == 3 and planes.shape[0] in channels,
        last is not None and planes.ndim == 3 and planes.shape[-1] in channels,
    )
    if not any(fits) or (tensor.ndim == 2 and 1 not in channels):
        most = "3" if 3 in channels else str(channels[0])
        hint = "; take its pictures one at a time" if planes.ndim == 4 else ""
        hint = "; volumes and films are no pictures: tp.wrap(..., call=...) can fold their axes" if planes.ndim == 5 else hint
        shapes = f"({most}, H, W) or ({most}, H, W) with a leading 1" if 1 not in channels else "(H, W), (3, H, W) or (H, W, 3)"
        raise ImageError(f"{name}: shape {tuple(tensor.shape)} is not {shapes}{hint}")
    if planes.numel() == 0:
        raise ImageError(f"{name}: no pixels (shape {tuple(tensor.shape)}); give at least 1 x 1")
    is_last = tensor.ndim > 2 and fits[1] and (last or not fits[0])
    return planes.permute(2, 0, 1) if is_last else planes


def unit_range(planes: Tensor, name: str, span: Span | None = None) -> Tensor:
    """New values in [0, 1], float32 (doubles stay doubles): by the type's full scale, or linear in `span`, clipped."""
    if planes.is_complex():
        raise ImageError(f"{name}: complex numbers are no pixels; use uint8, or float in [0, 1]")
    kept = torch.float64 if planes.dtype == torch.float64 else torch.float32
    if planes.is_floating_point():
        _check_finite(planes, name)
    if span is not None:
        _check_raw(planes, name, span)
        low, high = span
        return ((planes.double() - low) / (high - low)).clamp(0, 1).to(kept)
    if planes.dtype in FULL_SCALE:
        return planes.float().div_(FULL_SCALE[planes.dtype])
    if not planes.is_floating_point():
        raise ImageError(
            f"{name}: {planes.dtype} has no known range; convert it to uint8, or to float in [0, 1], or say what its values "
            "mean with tp.wrap(..., range=(low, high))"
        )
    low, high = (float(end) for end in planes.detach().aminmax())
    if low < -ROUNDING or high > 1 + ROUNDING:
        hint = "divide by 255" if low >= 0 and high <= BYTES else "rescale it, or undo the model's normalization"
        raise ImageError(f"{name}: values from {low:g} to {high:g} are not in [0, 1]; {hint}")
    return planes.to(kept).clamp(0, 1)


def _check_finite(planes: Tensor, name: str) -> None:
    if not all(math.isfinite(float(end)) for end in planes.detach().aminmax()):
        raise ImageError(f"{name}: holds NaN or infinity; replace them first (nan_to_num)")


def _check_raw(planes: Tensor, name: str, span: Span) -> None:
    """Refuses pixels where raw values are meant: 8 bits for a range beyond them, and fractions for one of thousands."""
    low, high = span
    if planes.dtype in (torch.bool, torch.uint8) and not (low >= 0 and 1 < high <= BYTES):
        raise ImageError(
            f"{name}: {planes.dtype} holds no values from {low:g} to {high:g}, the range of this model; give raw ones"
        )
    if planes.is_floating_point() and high - low > 20:
        least, most = (float(end) for end in planes.detach().aminmax())
        if least >= 0 and most <= 1 and bool((planes != planes.round()).any()):
            raise ImageError(
                f"{name}: values from {least:g} to {most:g} are pixels in [0, 1]; this model takes raw values from {low:g} to "
                f"{high:g}: give the array, tensor or file itself"
            )
