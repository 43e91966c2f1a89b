"""Cues that an audit moves from one picture to another, and the edits that move them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.data.preprocessing import Size, size_of
from tapetum.families.audits.material import Material, coarse, fine_spread

FRAME = 0.05
"""Width of the frame, as a share of the shorter side."""

BAND = (0.2, 0.32)
"""Height and width of each corner, as shares of the picture's; the sides between the corners are as deep."""

MOST_GAIN, MOST_TINT = 2.0, 1.15
"""Largest factors by which an edit changes fine structure, and a colour channel."""

Move: TypeAlias = Callable[[Material, Tensor, Tensor], Tensor]
"""(material, rows that take (b,), rows that give (b,)) -> pictures (b, 3, h, w)."""


@dataclass(frozen=True)
class Cue:
    """What is moved, and what is moved beside it, of the same area elsewhere, whose effect is taken off.

    bar           least effect on a class's probability that counts as a shortcut
    takes_object  whether the picture that takes needs an object; gives_object: the one that gives
    remakes       whether the edit changes a picture also where its own cue is moved: then only pictures count whose answer
                  survives that
    """

    kind: str
    move: Move
    bar: float
    elsewhere: Move | None = None
    takes_object: bool = False
    gives_object: bool = False
    remakes: bool = False


# --- places


def frame_of(size: Size, inner: bool = False) -> Tensor:
    """Mask (h, w) bool of the frame, or of one of the same width that lies three widths further in."""
    height, width = size
    thick = max(1, int(FRAME * min(height, width)))
    start = 3 * thick if inner else 0
    far = torch.minimum(_from_edge(height)[:, None], _from_edge(width)[None])
    return (far >= start) & (far < start + thick)


def _from_edge(n: int) -> Tensor:
    line = torch.arange(n)
    return torch.minimum(line, n - 1 - line)


def corners_of(size: Size) -> Tensor:
    """Mask (h, w) bool of the four corners without the frame."""
    height, width = size
    rows, columns = _from_edge(height) < round(BAND[0] * height), _from_edge(width) < round(BAND[1] * width)
    return rows[:, None] & columns[None] & ~frame_of(size)


def sides_of(size: Size) -> Tensor:
    """Mask (h, w) bool of the outer band between the corners, as deep as they are, without the frame."""
    height, width = size
    deep = round(BAND[0] * min(height, width))
    band = torch.minimum(_from_edge(height)[:, None], _from_edge(width)[None]) < deep
    return band & ~corners_of(size) & ~frame_of(size)


def _pasted(material: Material, to: Tensor, given: Tensor, where: Tensor) -> Tensor:
    return torch.where(where.to(material.pixels.device), material.pixels[given], material.pixels[to])


def move_frame(material: Material, to: Tensor, given: Tensor) -> Tensor:
    """Moves the frame."""
    return _pasted(material, to, given, frame_of(size_of(material.pixels)))


def move_inner_frame(material: Material, to: Tensor, given: Tensor) -> Tensor:
    """Moves a frame further in."""
    return _pasted(material, to, given, frame_of(size_of(material.pixels), inner=True))


def move_corners(material: Material, to: Tensor, given: Tensor) -> Tensor:
    """Moves the four corners."""
    return _pasted(material, to, given, corners_of(size_of(material.pixels)))


def move_sides(material: Material, to: Tensor, given: Tensor) -> Tensor:
    """Moves the sides between the corners."""
    return _pasted(material, to, given, sides_of(size_of(material.pixels)))


def move_background(material: Material, to: Tensor, given: Tensor) -> Tensor:
    """Puts the object of one picture, with its own frame, on the plate of another."""
    size = size_of(material.pixels)
    reach = max(1, min(size) // 48)
    kept = F.max_pool2d(material.objects[to][:, None].float(), 2 * reach + 1, 1, reach) > 0
    kept = kept | frame_of(size).to(kept.device)
    return torch.where(kept, material.pixels[to], material.plates[given])


# --- the object's look


def move_color(material: Material, to: Tensor, given: Tensor) -> Tensor:
    """Turns the hues of an object until the mean one is that of another picture's object; lightness stays."""
    x, mask = material.pixels[to], material.objects[to]
    angle = _hue(material.pixels[given], material.objects[given]) - _hue(x, mask)
    return torch.where(mask[:, None], turned(x, angle).clamp(0, 1), x)


def _hue(x: Tensor, mask: Tensor) -> Tensor:
    """Angle (b,) about the grey axis of the object's mean colour, in which vivid pixels count more."""
    a, b = _across_grey(x)
    weight = (a.square() + b.square()) * mask
    return torch.atan2((b * weight).sum((1, 2)), (a * weight).sum((1, 2)))


def _across_grey(x: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (b, h, w) of colours on two axes at right angles to grey and to each other."""
    red, green, blue = x.unbind(1)
    return (2 * red - green - blue) / 6**0.5, (green - blue) / 2**0.5


def turned(x: Tensor, angle: Tensor) -> Tensor:
    """Colours (b, 3, h, w) turned about the grey axis by angles (b,) in radians."""
    a, b = _across_grey(x)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    u, v, grey = cos * a - sin * b, sin * a + cos * b, x.mean(1)
    return torch.stack([grey + u * 2 / 6**0.5, grey - u / 6**0.5 + v / 2**0.5, grey - u / 6**0.5 - v / 2**0.5], 1)


def move_texture(material: Material, to: Tensor, given: Tensor) -> Tensor:
    """Gives an object, over its own coarse colours, the surface of another one, as strong as its own was."""
    x, mask = material.pixels[to], material.objects[to][:, None]
    strength = fine_spread(x, mask)[:, None, None, None]
    painted = coarse(x, mask) + strength * material.surfaces[given]
    return torch.where(mask, painted.clamp(0, 1), x)


# --- the whole picture


def move_tint(material: Material, to: Tensor, given: Tensor) -> Tensor:
    """Multiplies each channel so that the mean colour is that of another picture; the mean brightness stays."""
    own, other = (material.pixels[rows].mean((2, 3), keepdim=True).clamp(min=0.02) for rows in (to, given))
    factors = (other / other.mean(1, keepdim=True)) / (own / own.mean(1, keepdim=True))
    return (material.pixels[to] * factors.clamp(1 / MOST_TINT, MOST_TINT)).clamp(0, 1)


def move_sharpness(material: Material, to: Tensor, given: Tensor) -> Tensor:
    """Multiplies the finest structure so that it is to the less fine one as in another picture."""
    x = material.pixels[to]
    smooth = _smooth(x)
    factor = _fineness(material.pixels[given]) / _fineness(x)
    return (smooth + (x - smooth) * factor.clamp(1 / MOST_GAIN, MOST_GAIN)[:, None, None, None]).clamp(0, 1)


def _smooth(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), "replicate"), 3, 1)


def _fineness(x: Tensor) -> Tensor:
    """Ratio (b,) of the spread of the finest structure to that of the next coarser one."""
    smooth = _smooth(x)
    smoother = _smooth(_smooth(smooth))
    return ((x - smooth).flatten(1).std(1) + 1e-4) / ((smooth - smoother).flatten(1).std(1) + 1e-4)


CUES: Mapping[str, Cue] = {
    cue.kind: cue
    for cue in (
        Cue("background", move_background, 0.04, takes_object=True, remakes=True),
        Cue("watermark", move_corners, 0.04, move_sides),
        Cue("border", move_frame, 0.04, move_inner_frame),
        Cue("color", move_color, 0.04, takes_object=True, gives_object=True),
        Cue("texture", move_texture, 0.07, takes_object=True, gives_object=True, remakes=True),
        Cue("tint", move_tint, 0.04),
        Cue("sharpness", move_sharpness, 0.04),
    )
}
"""{kind: cue}. The object's own surface speaks for its class by right: more of an effect is asked for."""
