"""How large pictures are made: what was asked for, checked against what the network takes."""

from __future__ import annotations

from typing import Any

import torch

from tapetum.models.vision_model import VisionModel
from tapetum.types import MethodError

USUAL_PX = 128
"""What olah2017feature made its pictures at; a quarter of the work of 256."""

SMALLEST_PX = 8


def as_size(model: VisionModel, size: Any) -> tuple[int, int]:
    """(h, w): from a side in px, a pair, or "96x160"; None: 128 px, or the network's own where it takes no other.

    The network is asked once a size, with a blank picture; one that needs its own size (a transformer with learned places)
    refuses others.
    """
    if size is None:
        usual = min(USUAL_PX, model.preprocessing.size)
        own = model.preprocessing.size
        return (usual, usual) if takes(model, (usual, usual)) else (own, own)
    wanted = _pair(size)
    if min(wanted) < SMALLEST_PX:
        raise MethodError(f"a picture has at least {SMALLEST_PX} px a side, not {wanted[0]} x {wanted[1]}")
    if not takes(model, wanted):
        own = model.preprocessing.size
        raise MethodError(f"{model.name} takes no images of {wanted[0]} x {wanted[1]} px; its own size is {own} x {own}")
    return wanted


def _pair(size: Any) -> tuple[int, int]:
    parts = size.lower().replace("×", "x").split("x") if isinstance(size, str) else size
    parts = [parts] if isinstance(parts, (int, float)) else list(parts)
    try:
        numbers = [int(part) for part in parts]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (1, 2) or any(float(part) != number for part, number in zip(parts, numbers, strict=True)):
        raise MethodError(f"a size is a side in px, or height x width such as 96x160, not {size!r}")
    return numbers[0], numbers[-1]


def takes(model: VisionModel, size: tuple[int, int]) -> bool:
    """Whether the network runs on images of that size."""
    return model.remember(f"takes {size[0]} x {size[1]}", lambda: _takes(model, size))


def _takes(model: VisionModel, size: tuple[int, int]) -> bool:
    blank = torch.zeros(1, len(model.preprocessing.mean), *size, device=model.device, dtype=model.dtype)
    try:
        with torch.no_grad():
            model(blank)
    except (RuntimeError, AssertionError, ValueError):
        return False
    return True
