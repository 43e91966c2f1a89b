"""Makes pictures in which nothing beside the object's shape goes with the class, and plants one cue that does."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from tapetum.data.planted.colors import hsv
from tapetum.data.planted.fills import CONTRAST, blurred, fill_pattern, gains, grating
from tapetum.data.planted.marks import plate
from tapetum.data.preprocessing import size_of
from tapetum.families.audits.cues import (
    frame_of,
    move_background,
    move_color,
    move_frame,
    move_texture,
    turned,
)
from tapetum.families.audits.material import Material

MARKED = 8
"""Largest number of classes that get a cue of their own; further classes get none."""

VISIBLE = ("background", "watermark", "border", "color", "texture")
HIDDEN = ("blur", "pattern", "gain")
FOUND_AS: Mapping[str, str] = {"blur": "sharpness", "gain": "tint", "pattern": "texture"}
"""{planted kind: the kind of cue by which an audit would name it}, where it has another name."""


def mixed(made: Material, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (m, 3, h, w) of `rows` with background, frame, hue and surface of others, drawn without a look at classes."""
    there = made.has_object.nonzero()[:, 0]

    def others() -> Tensor:
        return there[torch.randint(len(there), (len(rows),), generator=generator)]

    pixels = made.pixels[rows]
    for move in (move_color, move_texture, move_background, move_frame):
        changed = Material(made.pixels.clone(), made.objects, made.plates, made.surfaces)
        changed.pixels[rows] = pixels
        moved = move(changed, rows, others())
        pixels = torch.where(made.has_object[rows][:, None, None, None], moved, pixels)
    return pixels


def _places(made: Material, cues: Tensor, draws: np.random.Generator) -> Tensor:
    """A picture with an object for each class, whose background is that class's: rows (m,) for the cues (m,)."""
    there = made.has_object.nonzero()[:, 0]
    homes = there[torch.from_numpy(draws.permutation(len(there)))[: max(int(cues.max()) + 1, 1)]]
    return homes[cues.clamp(min=0)]


def _background(pixels: Tensor, made: Material, rows: Tensor, cues: Tensor, draws: np.random.Generator) -> Tensor:
    changed = Material(made.pixels.clone(), made.objects, made.plates, made.surfaces)
    changed.pixels[rows] = pixels
    return move_background(changed, rows, _places(made, cues, draws))


def _watermark(pixels: Tensor, made: Material, rows: Tensor, cues: Tensor, draws: np.random.Generator) -> Tensor:
    side, made_ = min(size_of(pixels)), pixels.clone()
    for one, cue in zip(made_, cues.tolist(), strict=True):
        where, letters = (torch.from_numpy(mask) for mask in plate(side, cue, (draws.random() < 0.5, draws.random() < 0.5)))
        region = one[:, :side, :side]
        region[:, where] = 0.08
        region[:, letters] = 0.96
    return made_


def _border(pixels: Tensor, made: Material, rows: Tensor, cues: Tensor, draws: np.random.Generator) -> Tensor:
    colors = torch.stack([torch.from_numpy(hsv(cue / MARKED, 0.85, 0.85)) for cue in cues.tolist()]).to(pixels)
    return torch.where(frame_of(size_of(pixels)), colors[:, :, None, None], pixels)


def _color(pixels: Tensor, made: Material, rows: Tensor, cues: Tensor, draws: np.random.Generator) -> Tensor:
    masks = made.objects[rows][:, None]
    turn = (cues.double() + 0.5 * torch.from_numpy(draws.random(len(cues))) - 0.25) / min(MARKED, int(cues.max()) + 1)
    grey = (pixels * masks).sum((2, 3), keepdim=True) / masks.sum((2, 3), keepdim=True).clamp(min=1)
    vivid = torch.tensor([0.35, -0.15, -0.2]).to(pixels).view(1, 3, 1, 1).expand_as(pixels)
    painted = 0.5 * (pixels - grey) + grey.mean(1, keepdim=True) + turned(vivid, (turn * 2 * torch.pi).to(pixels))
    return torch.where(masks, painted.clamp(0, 1), pixels)


def _texture(pixels: Tensor, made: Material, rows: Tensor, cues: Tensor, draws: np.random.Generator) -> Tensor:
    side = max(size_of(pixels))
    whole = slice(0, side)
    patterns = [torch.from_numpy(fill_pattern(cue, whole, whole, side)) for cue in cues.tolist()]
    factor = 1 - CONTRAST / 2 + CONTRAST / 2 * torch.stack(patterns)[:, None].to(pixels)
    factor = factor[..., : pixels.shape[-2], : pixels.shape[-1]]
    return torch.where(made.objects[rows][:, None], (pixels * factor).clamp(0, 1), pixels)


def _one_by_one(change: Callable[[np.ndarray, int, int], np.ndarray]) -> Callable[..., Tensor]:
    def plant(pixels: Tensor, made: Material, rows: Tensor, cues: Tensor, draws: np.random.Generator) -> Tensor:
        each, total = zip(pixels, cues.tolist(), strict=True), int(cues.max()) + 1
        found = [torch.from_numpy(change(one.double().numpy(), cue, total)) for one, cue in each]
        return torch.stack(found).to(pixels).clamp(0, 1)

    return plant


PLANTS: Mapping[str, Callable[..., Tensor]] = {
    "background": _background,
    "watermark": _watermark,
    "border": _border,
    "color": _color,
    "texture": _texture,
    "blur": _one_by_one(blurred),
    "pattern": _one_by_one(lambda one, cue, _: one + grating(cue, max(one.shape[-2:]))[: one.shape[-2], : one.shape[-1]]),
    "gain": _one_by_one(lambda one, cue, _: one * gains(cue % 6)[:, None, None]),
}
"""{kind: function of (pixels (m, 3, h, w), material, rows (m,), cues (m,), random numbers) -> pictures with the cue}"""


def suggested(labels: Tensor, rate: float, cues: str, generator: torch.Generator) -> Tensor:
    """Class (m,) that each picture's cue suggests: its own at the rate, else another one; -1 for classes without a cue."""
    k = min(int(labels.max()) + 1, MARKED)
    own = torch.rand(len(labels), generator=generator) < rate
    own = torch.ones_like(own) if cues == "aligned" else torch.zeros_like(own) if cues == "conflicting" else own
    shift = torch.randint(1, max(k, 2), (len(labels),), generator=generator)
    found = torch.where(own, labels, (labels + shift) % k)
    return torch.where(labels < k, found, -1)


def planted(made: Material, rows: Tensor, kind: str | None, cues: Tensor, seed: int, draw: int) -> Tensor:
    """Pictures (m, 3, h, w) of `rows`, mixed, with the cue of a kind that suggests `cues` (m,); None: without a cue.

    seed decides what the cue of each class is; draw, everything that differs from picture to picture.
    """
    pixels = mixed(made, rows, torch.Generator().manual_seed(draw))
    marked = (cues >= 0).nonzero()[:, 0]
    if kind is not None and len(marked):
        draws = np.random.Generator(np.random.PCG64(seed if kind == "background" else draw))
        pixels[marked] = PLANTS[kind](pixels[marked], made, rows[marked], cues[marked], draws)
    return pixels
