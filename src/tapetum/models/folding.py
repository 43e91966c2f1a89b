"""Films and volumes as images of many channels: frames are folded in, (n, c t, h, w), and unfolded where the network runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tapetum.types import ImageError, ModelError


@dataclass(frozen=True)
class Folded:
    """Runs a network of films on folded images: (n, c t, h, w) becomes (n, c, t, h, w)."""

    frames: int
    call: Callable[..., Any] | None = None

    def __call__(self, module: nn.Module, images: Tensor, **rows: Any) -> Any:
        films = images.unflatten(1, (-1, self.frames))
        return module(films, **rows) if self.call is None else self.call(module, films, **rows)


def folded(films: Tensor, channels: int, frames: int | None) -> Tensor:
    """Films (n, c, t, h, w), or (n, t, c, h, w) as they are read, to (n, c t, h, w); anything else is refused by name."""
    shape = tuple(films.shape)
    if frames is None:
        raise ImageError(
            f"images are (n, c, h, w), not {shape}: a network of films or volumes is tp.wrap(..., frames={shape[2]})"
        )
    each = channels // frames
    if shape[1:3] == (each, frames):
        return films.flatten(1, 2)
    if shape[1:3] == (frames, each):
        return films.transpose(1, 2).flatten(1, 2)
    raise ImageError(f"films are (n, {each}, {frames}, h, w) here, not {shape}")


def film_channels(module: nn.Module) -> int | None:
    """Channels of the first convolution, where that is one of films; None where it is of images."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    first = next((part for part in module.modules() if isinstance(part, kinds)), None)
    return first.in_channels if isinstance(first, nn.Conv3d) else None


def check_frames(module: nn.Module, frames: Any, named: bool) -> None:
    """Refuses a network of films where nobody says how long they are, and lengths that are none."""
    if frames is None and film_channels(module) is not None and not named:
        raise ModelError(
            f"{type(module).__name__} takes films or volumes (n, c, t, h, w): say how many frames or slices they have with "
            "tp.wrap(..., frames=16)"
        )
    if frames is not None and (not isinstance(frames, int) or isinstance(frames, bool) or frames < 1):
        raise ModelError(f"frames is how many frames or slices a film or volume has, not {frames!r}")
