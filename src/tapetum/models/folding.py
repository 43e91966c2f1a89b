"""Treats films and volumes as images of c·t channels, (n, c t, h, w): t frames are folded into the channels.

They are unfolded again when the network runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tapetum.types import ImageError, ModelError


@dataclass(frozen=True)
class Folded:
    """Runs a network for films on folded images: unfolds (n, c t, h, w) to (n, c, t, h, w) for the network."""

    frames: int
    call: Callable[..., Any] | None = None

    def __call__(self, module: nn.Module, images: Tensor, **rows: Any) -> Any:
        films = images.unflatten(1, (-1, self.frames))
        return module(films, **rows) if self.call is None else self.call(module, films, **rows)


def folded(films: Tensor, channels: int, frames: int | None) -> Tensor:
    """Folds films (n, c, t, h, w) or (n, t, c, h, w), as video readers give them, into (n, c t, h, w); refuses other shapes.

    channels: c·t, the number of channels of the folded images.
    """
    shape = tuple(films.shape)
    if frames is None:
        raise ImageError(f"images are (n, c, h, w), not {shape}: for films or volumes, tp.wrap(..., frames={shape[2]})")
    each = channels // frames
    if shape[1:3] == (each, frames):
        return films.flatten(1, 2)
    if shape[1:3] == (frames, each):
        return films.transpose(1, 2).flatten(1, 2)
    raise ImageError(f"films are (n, {each}, {frames}, h, w) here, not {shape}")


def film_channels(module: nn.Module) -> int | None:
    """Number of input channels of the network's first convolution if it is a Conv3d, as for films; None if it is not."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    first = next((part for part in module.modules() if isinstance(part, kinds)), None)
    return first.in_channels if isinstance(first, nn.Conv3d) else None


def check_frames(module: nn.Module, frames: Any, named: bool) -> None:
    """Refuses a network for films without a number of frames, unless `named`, and a number of frames that is not a count."""
    if frames is None and film_channels(module) is not None and not named:
        raise ModelError(
            f"{type(module).__name__} takes films or volumes (n, c, t, h, w): say how many frames or slices they have with "
            "tp.wrap(..., frames=16)"
        )
    if frames is not None and (not isinstance(frames, int) or isinstance(frames, bool) or frames < 1):
        raise ModelError(f"frames is how many frames or slices a film or volume has, not {frames!r}")
